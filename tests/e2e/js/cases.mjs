// What programs written against @deno/sandbox do. Run by test_js_client.py on Deno and on Node.
import { createHash } from "node:crypto";
import { mkdtemp, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const sha = (data) => createHash("sha256").update(data).digest("hex");
const decode = (data) => new TextDecoder().decode(data);
const encode = (text) => new TextEncoder().encode(text);

function noise(size) {
  const data = new Uint8Array(size);
  let x = 0x9e3779b9;
  for (let i = 0; i < size; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    data[i] = x;
  }
  return data;
}

function streamOf(data, chunk) {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= data.length) return controller.close();
      controller.enqueue(data.subarray(at, at += chunk));
    },
  });
}

async function collect(stream) {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function names(iterable) {
  const out = [];
  for await (const entry of iterable) out.push(entry.name);
  return out.sort();
}

export function makeCases(t) {
  const { Sandbox, Client, assert, equal, rejects, shared } = t;
  // The client brings Deno's error classes along, on Deno too.
  const isError = (cls, code) => (e) => e.code === code && e.constructor.name === cls;
  const piped = { stdout: "piped", stderr: "piped" };
  const closed = (e) => e instanceof t.ConnectionClosedError;

  return {
    // --- life ---
    async create_and_close() {
      const sandbox = await Sandbox.create();
      assert(/^sbx_[a-z]{3}_[0-9a-hjkmnp-z]{20}$/.test(sandbox.id), `id ${sandbox.id}`);
      await sandbox.close();
      await sandbox.closed;
      await rejects(sandbox.sh`true`, () => true, "a call after close");
    },
    async async_dispose() {
      const sandbox = await Sandbox.create();
      const id = sandbox.id;
      await sandbox[Symbol.asyncDispose]();
      await rejects(Sandbox.connect({ id }), (e) => e instanceof t.ConnectionEstablishmentError &&
        e.status === 400 && e.code === "SANDBOX_ALREADY_TERMINATED" && e.traceId, "connect");
    },
    async client_sandboxes_create() {
      const client = new Client();
      const sandbox = await client.sandboxes.create({ memory: "1GiB", region: "ord" });
      equal((await sandbox.sh`echo hi`.text()), "hi\n");
      await sandbox.close();
    },
    async region_and_memory() {
      const sandbox = await Sandbox.create({ region: "ams", memory: "2048MiB" });
      await sandbox.close();
      const other = await Sandbox.create({ memory: 768 * 1024 * 1024 });
      await other.close();
    },
    async env_at_create() {
      const sandbox = await Sandbox.create({ env: { NODE_ENV: "development", FEATURE_FLAG: "a b" } });
      equal(await sandbox.sh`printf "%s|%s" "$NODE_ENV" "$FEATURE_FLAG"`.text(), "development|a b");
      equal(await sandbox.env.get("NODE_ENV"), "development");
      await sandbox.close();
    },
    async timeout_close_and_reconnect() {
      const sandbox = await Sandbox.create({ timeout: "10m" });
      const { id } = sandbox;
      await sandbox.fs.writeTextFile("kept.txt", "still here");
      await sandbox.close();
      const again = await Sandbox.connect({ id });
      equal(again.id, id, "the id comes from the header, on connect too");
      equal(await again.fs.readTextFile("kept.txt"), "still here");
      await again.kill();
      await rejects(Sandbox.connect(id), (e) => e.code === "SANDBOX_ALREADY_TERMINATED", "connect");
    },
    async kill() {
      const sandbox = await Sandbox.create();
      await sandbox.kill();
      await sandbox.closed;
      await rejects(sandbox.env.get("HOME"), closed, "a call after kill");
    },
    async kill_with_calls_in_flight() {
      const sandbox = await Sandbox.create({ timeout: "5m" });
      const child = await sandbox.spawn("sleep", { args: ["1000"], ...piped });
      const status = child.status;
      await sandbox.kill();
      const error = await rejects(status, closed, "status of a killed sandbox");
      assert(error.code === 1000 || error.code === 1001, `close code ${error.code}`);
    },
    async kill_twice() {
      const sandbox = await Sandbox.create({ timeout: "5m" });
      const second = await Sandbox.connect({ id: sandbox.id });
      await sandbox.kill();
      await second.kill();
    },
    async session_ends_with_its_creator() {
      const sandbox = await Sandbox.create();
      const second = await Sandbox.connect({ id: sandbox.id });
      equal(await second.sh`echo second`.text(), "second\n");
      await sandbox.close();
      await second.closed;
      await rejects(second.sh`true`, closed, "a call of the secondary client");
    },
    async secondary_client_leaves() {
      const sandbox = await Sandbox.create();
      const second = await Sandbox.connect(sandbox.id);
      await second.close();
      equal(await sandbox.sh`echo on`.text(), "on\n");
      await sandbox.close();
    },
    async extend_timeout() {
      const sandbox = await Sandbox.create({ timeout: "60s" });
      const until = await sandbox.extendTimeout("20m");
      const left = until.getTime() - Date.now();
      assert(left > 19 * 60_000 && left < 21 * 60_000, `extended to ${left} ms from now`);
      const shorter = await sandbox.extendTimeout("10s");
      equal(shorter.getTime(), until.getTime(), "an extension never shortens");
      await sandbox.kill();
    },
    async list_with_labels() {
      const mark = crypto.randomUUID();
      const one = await Sandbox.create({ labels: { mark, team: "ünï" } });
      const two = await Sandbox.create({ labels: { mark } });
      const client = new Client();
      const found = await client.sandboxes.list({ labels: { mark } });
      equal(found.map((s) => s.id).sort(), [one.id, two.id].sort());
      const exact = await client.sandboxes.list({ labels: { mark, team: "ünï" } });
      equal(exact.map((s) => s.id), [one.id], "all labels must match");
      const [meta] = exact;
      equal([meta.status, meta.region, meta.stoppedAt], ["running", "ord", null]);
      equal(meta.labels, { mark, team: "ünï" });
      assert(Math.abs(meta.createdAt.getTime() - Date.now()) < 60_000, "createdAt is about now");
      await one.kill();
      await two.kill();
      const after = await client.sandboxes.list({ labels: { mark } });
      equal(after.map((s) => s.status), ["stopped", "stopped"]);
      assert(after.every((s) => s.stoppedAt instanceof Date), "stoppedAt is set");
    },
    async invalid_token() {
      const options = { token: "ddo_" + "x".repeat(40) };
      await rejects(Sandbox.create(options), (e) => e instanceof t.InvalidTokenError, "create");
      await rejects(Sandbox.connect({ id: "sbx_ord_" + "0".repeat(20), ...options }),
        (e) => e instanceof t.InvalidTokenError, "connect");
      await rejects(new Client(options).sandboxes.list(),
        (e) => e instanceof t.ApiError && e.status === 401 && e.code === "INVALID_TOKEN", "list");
    },
    async connect_to_unknown() {
      const error = await rejects(Sandbox.connect({ id: "sbx_ord_" + "0".repeat(20) }),
        (e) => e instanceof t.ConnectionEstablishmentError, "connect");
      equal([error.status, error.code], [404, "SANDBOX_NOT_FOUND"]);
      assert(/^[0-9a-f]{32}$/.test(error.traceId), `trace id ${error.traceId}`);
    },
    async refused_options() {
      for (const options of [{ allowNet: ["http://example.com"] }, { root: "my-volume" },
        { volumes: { "/data": "v" } }, { secrets: { A: { hosts: ["a.example"], value: "" } } }]) {
        const error = await rejects(Sandbox.create(options),
          (e) => e instanceof t.ConnectionEstablishmentError, JSON.stringify(options));
        assert(error.status >= 400 && error.status < 502, `status ${error.status}`);
        assert(typeof error.code === "string" && error.code !== "", "a typed error");
      }
      const sandbox = await Sandbox.create({ allowNet: [], volumes: {}, secrets: {} });
      await sandbox.close();
    },
    async too_many_labels() {
      const labels = Object.fromEntries([..."abcdef"].map((k) => [k, "v"]));
      const error = await rejects(Sandbox.create({ labels }),
        (e) => e instanceof t.ConnectionEstablishmentError && e.status === 400, "six labels");
      assert(error.message.includes("labels"), error.message);
    },

    // --- processes ---
    async spawn_output() {
      const sandbox = await shared();
      const child = await sandbox.spawn("bash", { args: ["-c", "echo out; echo err >&2"], ...piped });
      assert(child.pid > 1, `pid ${child.pid}`);
      const { status, stdoutText, stderrText } = await child.output();
      equal(status, { success: true, code: 0, signal: null, oom: false });
      equal([stdoutText, stderrText], ["out\n", "err\n"]);
    },
    async spawn_exit_code() {
      const sandbox = await shared();
      const child = await sandbox.spawn("bash", { args: ["-c", "exit 42"] });
      equal(await child.status, { success: false, code: 42, signal: null, oom: false });
      await child.kill();
    },
    async spawn_null_streams() {
      const sandbox = await shared();
      const child = await sandbox.spawn("echo", { args: ["x"], stdout: "null", stderr: "null" });
      equal([child.stdout, child.stderr, child.stdin], [null, null, null]);
      equal((await child.status).code, 0);
    },
    async spawn_binary_output() {
      const sandbox = await shared();
      const child = await sandbox.spawn("python3", {
        args: ["-c", "import sys; sys.stdout.buffer.write(bytes(range(256)))"], ...piped });
      const { stdout } = await child.output();
      equal([...stdout], [...Array(256).keys()]);
    },
    async spawn_streaming() {
      const sandbox = await shared();
      const child = await sandbox.spawn("bash", {
        args: ["-c", "while read line; do echo got $line; done; echo bye"], stdin: "piped", ...piped });
      const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
      const writer = child.stdin.getWriter();
      for (const word of ["one", "two", "three"]) {
        await writer.write(encode(word + "\n"));
        equal((await reader.read()).value, `got ${word}\n`, "an answer while the process runs");
      }
      await writer.close();
      equal((await reader.read()).value, "bye\n");
      equal((await reader.read()).done, true);
      equal((await child.status).code, 0);
    },
    async spawn_stdin_large() {
      const sandbox = await shared();
      const data = noise(5 << 20);
      const child = await sandbox.spawn("cat", { stdin: "piped", ...piped });
      const sent = streamOf(data, 65536).pipeTo(child.stdin);
      const got = await collect(child.stdout);
      await sent;
      equal([got.length, sha(got)], [data.length, sha(data)]);
    },
    async spawn_stdin_closed_by_child() {
      const sandbox = await shared();
      const child = await sandbox.spawn("bash", { args: ["-c", "exec 0<&-; sleep 1000"], stdin: "piped", ...piped });
      const writer = child.stdin.getWriter();
      await rejects((async () => {
        for (let i = 0; i < 10000; i++) {
          await writer.ready;
          await writer.write(new Uint8Array(65536));
          await new Promise((done) => setTimeout(done, 0)); // let messages come in
        }
      })(), () => true, "writing to a stdin that nobody reads");
      await child.kill();
      equal((await child.status).signal, "SIGTERM");
    },
    async spawn_options() {
      const sandbox = await shared();
      const child = await sandbox.spawn("bash", {
        args: ["-c", "pwd; echo $A; echo ${HOME-none}"], cwd: "/tmp", env: { A: "1" }, ...piped });
      equal((await child.output()).stdoutText, "/tmp\n1\n/home/app\n");
      const bare = await sandbox.spawn("/usr/bin/env", { env: { ONLY: "x" }, clearEnv: true, ...piped });
      equal((await bare.output()).stdoutText, "ONLY=x\n");
    },
    async spawn_large_outputs() {
      const sandbox = await shared();
      const child = await sandbox.spawn("bash", { args: ["-c",
        "python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 32768)' & " +
        "python3 -c 'import sys; sys.stderr.buffer.write(bytes(range(255, -1, -1)) * 32768)'; wait"], ...piped });
      const { status, stdout, stderr } = await child.output();
      const up = new Uint8Array(8 << 20).map((_, i) => i);
      const down = new Uint8Array(8 << 20).map((_, i) => 255 - i);
      equal(status.code, 0);
      equal([stdout.length, sha(stdout)], [up.length, sha(up)], "8 MiB of stdout");
      equal([stderr.length, sha(stderr)], [down.length, sha(down)], "8 MiB of stderr");
    },
    async spawn_cancelled_output() {
      const sandbox = await shared();
      const child = await sandbox.spawn("bash", { args: ["-c", "while echo line; do :; done"], ...piped });
      const reader = child.stdout.getReader();
      assert((await reader.read()).value.length > 0, "some output");
      await reader.cancel("enough");
      await child.kill("SIGKILL");
      await child.status;
      equal(await sandbox.sh`echo fine`.text(), "fine\n");
    },
    async spawn_not_found() {
      const sandbox = await shared();
      await rejects(sandbox.spawn("no-such-command"), isError("NotFound", "ENOENT"), "spawn");
      await rejects(sandbox.spawn("/etc/passwd"), isError("PermissionDenied", "EACCES"), "spawn");
      await rejects(sandbox.spawn("true", { cwd: "/nope" }), isError("NotFound", "ENOENT"), "cwd");
    },
    async kill_a_child() {
      const sandbox = await shared();
      for (const [signal, code] of [[undefined, 143], ["SIGKILL", 137], ["SIGINT", 130]]) {
        const child = await sandbox.spawn("sleep", { args: ["1000"], ...piped });
        await child.kill(signal);
        equal(await child.status,
          { success: false, code, signal: signal ?? "SIGTERM", oom: false });
        await child.kill();
      }
    },
    async dispose_a_child() {
      const sandbox = await shared();
      const child = await sandbox.spawn("sleep", { args: ["1000"] });
      await child[Symbol.asyncDispose]();
      equal((await child.status).code, 143);
    },
    async abort_signal_kills() {
      const sandbox = await shared();
      const child = await sandbox.spawn("sleep", { args: ["1000"], signal: AbortSignal.timeout(50), ...piped });
      const { status } = await child.output();
      equal([status.signal, status.code], ["SIGTERM", 143]);
    },
    async interleaved_processes() {
      const sandbox = await shared();
      const runs = [...Array(12).keys()].map(async (n) => {
        const child = await sandbox.spawn("bash", {
          args: ["-c", `for i in $(seq 200); do echo ${n}-$i; done; echo ${n} >&2`], ...piped });
        const { stdoutText, stderrText } = await child.output();
        equal(stdoutText, [...Array(200).keys()].map((i) => `${n}-${i + 1}\n`).join(""));
        equal(stderrText, `${n}\n`);
      });
      await Promise.all(runs);
    },
    async parallel_sandboxes() {
      const sandboxes = await Promise.all([...Array(4)].map(() => Sandbox.create()));
      equal(new Set(sandboxes.map((s) => s.id)).size, 4);
      await Promise.all(sandboxes.map(async (sandbox, n) => {
        const data = noise(700_000 + n);
        const child = await sandbox.spawn("cat", { stdin: "piped", ...piped });
        const [got] = await Promise.all([collect(child.stdout), streamOf(data, 10_000).pipeTo(child.stdin)]);
        equal(sha(got), sha(data), `the streams of sandbox ${n} stay its own`);
        await sandbox.fs.writeFile("f", streamOf(data, 30_000));
        equal((await sandbox.sh`sha256sum < f`.text()).slice(0, 64), sha(data));
      }));
      await Promise.all(sandboxes.map((s) => s.close()));
    },

    // --- shell helper ---
    async sh_text_and_quoting() {
      const sandbox = await shared();
      const odd = "it's \"odd\" $HOME `id` ünï\n*";
      equal(await sandbox.sh`printf %s ${odd}`.text(), odd);
      equal(await sandbox.sh`printf '%s,' ${["a b", "c"]}`.text(), "a b,c,");
      equal(await sandbox.sh`echo $HOME; cd /tmp && pwd`.text(), "/home/app\n/tmp\n");
      equal(await sandbox.sh`echo '{"key": [1, 2]}'`.json(), { key: [1, 2] });
    },
    async sh_failure() {
      const sandbox = await shared();
      const error = await rejects(sandbox.sh`echo oops >&2; exit 3`.stderr("piped"),
        (e) => e instanceof t.SandboxCommandError, "exit 3");
      equal(error.code, 3);
      assert(error.message.includes("oops"), error.message);
      const result = await sandbox.sh`exit 4`.noThrow();
      equal(result.status.code, 4);
    },
    async sh_sudo() {
      const sandbox = await shared();
      await sandbox.sh`sh -c 'id -u > /tmp/who'`.sudo();
      equal(await sandbox.sh`cat /tmp/who; rm -f /tmp/who; stat -c %U /tmp`.noThrow().text(), "0\nroot\n");
    },
    async sh_env_cwd_and_signal() {
      const sandbox = await shared();
      const result = await sandbox.sh`sleep 1000`.signal(AbortSignal.timeout(50)).then((r) => r, (e) => e);
      equal(result.code ?? result.status.code, 143);
      const controller = new t.KillController();
      const text = sandbox.sh`sleep 1000`.signal(controller.signal).then((r) => r, (e) => e);
      await sandbox.env.get("HOME");
      setTimeout(() => controller.kill("SIGKILL"), 100);
      const killed = await text;
      equal(killed.code ?? killed.status.code, 137);
    },

    // --- environment ---
    async env_methods() {
      const sandbox = await shared();
      equal(await sandbox.env.get("E2E_JS") ?? null, null);
      await sandbox.env.set("E2E_JS", "va lue");
      equal(await sandbox.env.get("E2E_JS"), "va lue");
      equal((await sandbox.env.toObject()).E2E_JS, "va lue");
      equal(await sandbox.sh`echo $E2E_JS`.text(), "va lue\n");
      await sandbox.env.delete("E2E_JS");
      equal(await sandbox.env.get("E2E_JS") ?? null, null);
    },

    // --- files ---
    async fs_text_and_bytes() {
      const { fs } = await shared();
      await fs.writeTextFile("t.txt", "ünï ☃\n");
      equal(await fs.readTextFile("t.txt"), "ünï ☃\n");
      equal(decode(await fs.readFile("/home/app/t.txt")), "ünï ☃\n");
      await fs.writeTextFile("t.txt", "more", { append: true });
      equal(await fs.readTextFile("t.txt"), "ünï ☃\nmore");
      await fs.writeTextFile("t.txt", new ReadableStream({ start(c) { c.enqueue("from "); c.enqueue("a stream"); c.close(); } }));
      equal(await fs.readTextFile("t.txt"), "from a stream");
      await fs.writeFile("empty", new Uint8Array());
      equal((await fs.readFile("empty")).length, 0);
      await rejects(fs.writeTextFile("t.txt", "x", { createNew: true }), isError("AlreadyExists", "EEXIST"), "createNew");
      await rejects(fs.writeTextFile("none", "x", { create: false }), isError("NotFound", "ENOENT"), "create: false");
      await fs.writeFile("x.sh", encode("#!/bin/sh\necho run\n"), { mode: 0o755 });
      equal(await (await shared()).sh`./x.sh`.text(), "run\n");
    },
    async fs_large_both_forms() {
      const sandbox = await shared();
      const data = noise(5 << 20);
      await sandbox.fs.writeFile("bytes", data);
      equal((await sandbox.sh`sha256sum < bytes`.text()).slice(0, 64), sha(data));
      const back = await sandbox.fs.readFile("bytes");
      equal([back.length, sha(back)], [data.length, sha(data)]);
      await sandbox.fs.writeFile("stream", streamOf(data, 100_000));
      equal((await sandbox.sh`sha256sum < stream`.text()).slice(0, 64), sha(data));
      await sandbox.sh`rm -f bytes stream`;
    },
    async fs_folders() {
      const { fs } = await shared();
      await fs.mkdir("d/e", { recursive: true });
      await rejects(fs.mkdir("d"), isError("AlreadyExists", "EEXIST"), "mkdir");
      await fs.writeTextFile("d/f", "x");
      await fs.symlink("f", "d/l");
      equal(await names(fs.readDir("d")), ["e", "f", "l"]);
      const entries = [];
      for await (const e of fs.readDir("d")) entries.push([e.name, e.isFile, e.isDirectory, e.isSymlink]);
      equal(entries.sort(), [["e", false, true, false], ["f", true, false, false], ["l", false, false, true]]);
      await rejects(fs.remove("d"), (e) => e.code === "ENOTEMPTY", "remove");
      await fs.remove("d", { recursive: true });
      await rejects(names(fs.readDir("d")), isError("NotFound", "ENOENT"), "readDir");
    },
    async fs_stat() {
      const { fs } = await shared();
      await fs.writeTextFile("s", "12345", { mode: 0o640 });
      const info = await fs.stat("s");
      equal([info.isFile, info.isDirectory, info.isSymlink, info.size], [true, false, false, 5]);
      equal(info.mode & 0o7777, 0o640);
      assert(info.mtime instanceof Date && Math.abs(info.mtime - Date.now()) < 300_000, `mtime ${info.mtime}`);
      await fs.symlink("s", "sl");
      equal((await fs.lstat("sl")).isSymlink, true);
      equal((await fs.stat("sl")).isFile, true);
      await fs.remove("sl");
      await rejects(fs.lstat("sl"), isError("NotFound", "ENOENT"), "lstat");
    },
    async fs_errors() {
      const { fs } = await shared();
      await rejects(fs.readTextFile("/nope"), isError("NotFound", "ENOENT"), "readTextFile");
      await rejects(fs.readFile("/etc/shadow"), isError("PermissionDenied", "EACCES"), "readFile");
      await rejects(fs.readFile("/tmp"), (e) => e.code === "EISDIR", "readFile of a folder");
      await rejects(fs.writeFile("/nope/x", streamOf(noise(200_000), 50_000)), isError("NotFound", "ENOENT"), "stream");
      await rejects(fs.writeFile("bad", new ReadableStream({ pull(c) { c.error(new TypeError("source broke")); } })),
        (e) => e instanceof TypeError && e.message.includes("source broke"), "a failing source");
    },
    async fs_abort() {
      const sandbox = await shared();
      await sandbox.sh`rm -f fifo; mkfifo fifo`;
      const isAbort = (e) => e.name === "AbortError";
      for (const method of ["readFile", "readTextFile"]) {
        const controller = new AbortController();
        const read = sandbox.fs[method]("fifo", { signal: controller.signal });
        await sandbox.env.get("HOME");
        controller.abort();
        await rejects(read, isAbort, method);
      }
      const controller = new AbortController();
      const never = new ReadableStream({ start(c) { c.enqueue(encode("begun")); } });
      const write = sandbox.fs.writeFile("aborted", never, { signal: controller.signal });
      await sandbox.env.get("HOME");
      controller.abort();
      await rejects(write, isAbort, "writeFile");
      const late = new AbortController();
      await sandbox.fs.writeTextFile("done", "x", { signal: late.signal });
      late.abort();
      equal(await sandbox.fs.readTextFile("done"), "x");
    },
    async fs_upload() {
      const sandbox = await shared();
      const local = await mkdtemp(join(tmpdir(), "e2e-upload-"));
      try {
        const big = noise(300_000);
        await mkdir(join(local, "tree/sub/empty"), { recursive: true });
        await writeFile(join(local, "tree/a.txt"), "a");
        await writeFile(join(local, "tree/sub/big.bin"), big);
        await symlink("a.txt", join(local, "tree/link"));
        await sandbox.sh`rm -rf up; mkdir up`;
        await sandbox.fs.upload(join(local, "tree"), "up");
        equal(await sandbox.sh`cd up && find . | sort | tr '\n' ' '`.text(),
          ". ./tree ./tree/a.txt ./tree/link ./tree/sub ./tree/sub/big.bin ./tree/sub/empty ");
        equal(await sandbox.sh`cat up/tree/link`.text(), "a");
        equal((await sandbox.sh`sha256sum < up/tree/sub/big.bin`.text()).slice(0, 64), sha(big));
        await sandbox.fs.upload(join(local, "tree/a.txt"), "/app/one.txt");
        equal(await sandbox.fs.readTextFile("/app/one.txt"), "a");
      } finally {
        await rm(local, { recursive: true });
      }
    },
    async wrong_types_are_rpc_errors() {
      const sandbox = await shared();
      await rejects(sandbox.fs.readTextFile("a\0b"), (e) => e instanceof t.RpcError && e.code === -32602, "NUL");
    },
  };
}
