// Run in a specific region with more memory than the default of 1280 MiB.
import { Sandbox } from "@deno/sandbox";

// The client takes a size with its unit, or a number of bytes. It names the region in the host it connects to,
// so with DENO_SANDBOX_ENDPOINT, one address for all regions, the server's first region is what one gets.
await using sandbox = await Sandbox.create({ region: "ams", memory: "2048MiB" });

const [, region] = sandbox.id.split("_");
console.log(`Sandbox ${sandbox.id} is in region ${region}.`);

// Fills 1400 MiB: more than a sandbox of the default size has.
const fill = "block = b'x' * (1400 << 20); print('a program holds', len(block) >> 20, 'MiB')";
console.log((await sandbox.sh`python3 -c ${fill}`.text()).trim());
