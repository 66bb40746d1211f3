// End a sandbox before its time, whoever is connected.
import { ConnectionEstablishmentError, Sandbox } from "@deno/sandbox";

const sandbox = await Sandbox.create({ timeout: "10m" });
console.log((await sandbox.sh`echo "I am alive"`.text()).trim());

await sandbox.kill();
console.log(`Killed ${sandbox.id}.`);

try {
  await Sandbox.connect({ id: sandbox.id });
  throw new Error("a killed sandbox still answers");
} catch (error) {
  if (!(error instanceof ConnectionEstablishmentError)) throw error;
  console.log(`Connecting again: ${error.status} ${error.code}: ${error.message}`);
}
