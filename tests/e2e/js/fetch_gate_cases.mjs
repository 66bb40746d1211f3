// sandbox.fetch() towards the outside. Run by test_fetch_gate.py on Deno and on Node.
import process from "node:process";

const { SANDBOX, SECRET } = process.env;

export function makeCases(t) {
  const { Sandbox, assert, equal, rejects } = t;
  let connected;
  const box = () => connected ??= Sandbox.connect({ id: SANDBOX });

  return {
    async allowed() {
      const sandbox = await box();
      for (const scheme of ["http", "https"]) {
        const response = await sandbox.fetch(`${scheme}://api.test/js?a=b`);
        equal(response.status, 200);
        assert((await response.text()).includes("/js?a=b"), "it is the server's answer");
      }
    },
    async denied() {
      const sandbox = await box();
      const plain = sandbox.fetch("http://denied.test/");
      await rejects(plain, (e) => e instanceof TypeError && /no rule of this sandbox allows denied.test/.test(e.message), "plain");
      const tls = sandbox.fetch("https://denied.test/");
      await rejects(tls, (e) => e instanceof TypeError && /https:\/\/denied.test\/.*access denied/.test(e.message), "over TLS");
    },
    async secret() {
      const sandbox = await box();
      const key = await sandbox.env.get("API_KEY");
      assert(key.startsWith("DENO_SECRET_PLACEHOLDER_"), "what programs see");
      const response = await sandbox.fetch("https://api.test/echo", {
        method: "POST",
        headers: { authorization: `Bearer ${key}` },
        body: "mine",
      });
      assert(response.headers.get("x-echo").startsWith("Bearer ***"), "scrubbed in headers");
      const text = await response.text();
      assert(!text.includes(SECRET) && text.includes("Bearer ***") && text.includes("mine"), "scrubbed in the body");
      const lengths = await (await sandbox.fetch("https://api.test/length", { headers: { "x-key": key } })).text();
      equal(lengths, `${SECRET.length}\n`, "the server gets the value");
    },
    async redirects() {
      const sandbox = await box();
      const key = await sandbox.env.get("API_KEY");
      const headers = { authorization: `Bearer ${key}`, "x-key": key };
      const response = await sandbox.fetch("https://api.test/to?to=https://other.test/js-landed", { headers });
      equal([response.status, await response.text()], [200, "hello from other.test:443 /js-landed\n"]);
      const refused = sandbox.fetch("https://api.test/to?to=https://denied.test/", { headers });
      await rejects(refused, (e) => e instanceof TypeError, "into what is denied");
      const manual = await sandbox.fetch("https://api.test/redirect?to=https://other.test/", { headers, redirect: "manual" });
      equal(manual.status, 302);
      assert(!manual.headers.get("location").includes(SECRET), "scrubbed in Location");
    },
  };
}
