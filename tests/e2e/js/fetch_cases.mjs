// What programs do with sandbox.fetch(). Run by test_fetch.py on Deno and on Node.
import { readFile } from "node:fs/promises";
import process from "node:process";

const encode = (text) => new TextEncoder().encode(text);

export function makeCases(t) {
  const { assert, equal, rejects, shared } = t;
  let origin;

  // The server inside the shared sandbox: [sandbox, its address].
  async function inside() {
    const sandbox = await shared();
    origin ??= (async () => {
      await sandbox.fs.writeTextFile("/tmp/origin.mjs", await readFile(process.env.ORIGIN, "utf8"));
      const child = await sandbox.spawn("node", { args: ["/tmp/origin.mjs"], stdout: "piped", stderr: "null" });
      const reader = child.stdout.getReader();
      const { value } = await reader.read();
      return `http://127.0.0.1:${new TextDecoder().decode(value).split(" ")[0]}`;
    })();
    return [sandbox, await origin];
  }

  return {
    async fetch_text() {
      const [sandbox, url] = await inside();
      const response = await sandbox.fetch(`${url}/hello`);
      equal([response.status, response.statusText, response.ok], [200, "OK", true]);
      equal(response.headers.get("content-type"), "text/plain");
      equal(await response.text(), "hello");
    },
    async fetch_headers() {
      const [sandbox, url] = await inside();
      const response = await sandbox.fetch(`${url}/cookies`);
      equal(response.headers.getSetCookie(), ["a=1; Path=/", "b=2"]);
      equal(response.headers.get("x-latin"), "caf\u00e9");
      const seen = await (await sandbox.fetch(`${url}/echo`, { headers: { "X-Mine": "caf\u00e9" } })).json();
      assert(seen.headers.includes("caf\u00e9"), "the header is sent as it was");
    },
    async fetch_post() {
      const [sandbox, url] = await inside();
      const response = await sandbox.fetch(`${url}/echo`, { method: "POST", body: "some text" });
      const seen = await response.json();
      equal([seen.method, seen.length], ["POST", 9]);
      assert(seen.headers.some((h) => h.startsWith("text/plain")), "its type is sent");
      const names = seen.headers.filter((_, i) => i % 2 === 0).map((h) => h.toLowerCase());
      assert(names.includes("content-length"), "its length is sent");
    },
    async fetch_large_body() {
      const [sandbox, url] = await inside();
      const response = await sandbox.fetch(`${url}/echo`, { method: "PUT", body: new Uint8Array(9_000_000) });
      const seen = await response.json();
      equal([seen.method, seen.length], ["PUT", 9_000_000]);
    },
    async fetch_large_answer() {
      const [sandbox, url] = await inside();
      const response = await sandbox.fetch(`${url}/bytes?n=6000000`);
      equal((await response.arrayBuffer()).byteLength, 6_000_000);
    },
    async fetch_without_body() {
      const [sandbox, url] = await inside();
      for (const status of [204, 205, 304]) {
        const response = await sandbox.fetch(`${url}/status?s=${status}`);
        equal([response.status, response.body], [status, null]);
      }
      const head = await sandbox.fetch(`${url}/bytes?n=5`, { method: "HEAD" });
      equal([head.status, head.headers.get("content-length"), await head.text()], [200, "5", ""]);
    },
    async fetch_redirects() {
      const [sandbox, url] = await inside();
      equal(await (await sandbox.fetch(`${url}/redirect?n=5`)).text(), "hello");
      const manual = await sandbox.fetch(`${url}/redirect?n=5`, { redirect: "manual" });
      equal([manual.status, manual.headers.get("location")], [302, "/redirect?n=4"]);
      const loop = sandbox.fetch(`${url}/loop`);
      await rejects(loop, (e) => e instanceof TypeError && /redirect/.test(e.message), "loop");
    },
    async fetch_refused() {
      const [sandbox] = await inside();
      const refused = sandbox.fetch("http://127.0.0.1:1/");
      await rejects(refused, (e) => e instanceof TypeError && /http:\/\/127/.test(e.message), "port 1");
    },
    async fetch_body_breaks_off() {
      const [sandbox, url] = await inside();
      const response = await sandbox.fetch(`${url}/cut`);
      await rejects(response.text(), (e) => e instanceof TypeError, "the rest is missing");
    },
    async fetch_abort() {
      const [sandbox, url] = await inside();
      const early = new AbortController();
      const never = sandbox.fetch(`${url}/never`, { signal: early.signal });
      setTimeout(() => early.abort(), 100);
      await rejects(never, (e) => e.name === "AbortError", "before the answer");
      const late = new AbortController();
      const response = await sandbox.fetch(`${url}/drip`, { signal: late.signal });
      const reader = response.body.getReader();
      equal((await reader.read()).value, encode("first"));
      late.abort();
      await rejects(reader.read(), (e) => e.name === "AbortError", "in the body");
    },
    async fetch_cancel() {
      const [sandbox, url] = await inside();
      const response = await sandbox.fetch(`${url}/drip`);
      await response.body.cancel(new Error("enough"));
      const text = await sandbox.sh`for i in $(seq 50); do pgrep -x curl >/dev/null || break; sleep 0.1; done; pgrep -xc curl || true`
        .text();
      equal(text.trim(), "0");
    },
  };
}
