// Keep a sandbox alive after disconnecting, and come back to it later.
import { Sandbox } from "@deno/sandbox";

const sandbox = await Sandbox.create({ timeout: "10m" });
const id = sandbox.id;
await sandbox.fs.writeTextFile("notes.txt", "written before the disconnect\n");
await sandbox.sh`sleep 600 >/dev/null 2>&1 & echo $! > pid.txt`;
await sandbox.close(); // disconnect but leave the sandbox running
console.log(`Disconnected from ${id}.`);

// ...later...
const reconnected = await Sandbox.connect({ id });
console.log(`Reconnected to ${reconnected.id}.`);
console.log(`notes.txt: ${(await reconnected.fs.readTextFile("notes.txt")).trim()}`);
console.log((await reconnected.sh`kill -0 $(cat pid.txt) && echo "the process still runs"`.text()).trim());

await reconnected.kill(); // or it would live on until its ten minutes are over
