// Runs the cases of one module by name: a line with the name comes in on standard input, a line
// "@@result {json}" goes out. One process serves many cases, so that each costs what it does and
// not the start of a runtime; an uncaught error ends the process, and the case with it.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import process from "node:process";

const [clientDir, casesFile] = process.argv.slice(2);
const client = await import(pathToFileURL(`${clientDir}/node_modules/@deno/sandbox/esm/mod.js`));
const { makeCases } = await import(pathToFileURL(casesFile));

let shared;
const tools = {
  ...client,
  // One sandbox for all cases that leave it as they found it.
  async shared() {
    shared ??= await client.Sandbox.create();
    return shared;
  },
  assert(ok, text) {
    if (!ok) throw new Error(`assertion failed: ${text}`);
  },
  equal(got, want, text = "") {
    const a = JSON.stringify(got), b = JSON.stringify(want);
    if (a !== b) throw new Error(`${text}: expected ${b}, got ${a?.slice(0, 2000)}`);
  },
  async rejects(promise, check, text) {
    let error;
    try {
      await promise;
    } catch (e) {
      error = e;
    }
    if (!error) throw new Error(`${text}: expected an error, got none`);
    if (!check(error)) {
      throw new Error(`${text}: wrong error ${error?.name} ${error?.constructor?.name} code=` +
        `${error?.code} ${error?.message}`);
    }
    return error;
  },
};
const cases = makeCases(tools);

function report(result) {
  process.stdout.write(`\n@@result ${JSON.stringify(result)}\n`);
}

for await (const name of createInterface({ input: process.stdin })) {
  try {
    await cases[name]();
    report({ name, ok: true });
  } catch (e) {
    report({ name, ok: false, error: `${e?.stack ?? e}` });
  }
}
await shared?.close();
process.exit(0);
