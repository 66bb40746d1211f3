// Create a sandbox and run a command in it.
import { Sandbox } from "@deno/sandbox";

await using sandbox = await Sandbox.create();
console.log(`Sandbox ${sandbox.id} is ready.`);

const hello = await sandbox.sh`echo "hello from $(whoami) in $(pwd)"`.text();
console.log(hello.trim());

const system = await sandbox.sh`. /etc/os-release; echo "$PRETTY_NAME"; deno --version`.text();
console.log(system.trim());
