"""What the way out of a sandbox costs: the gate beside no gate at all, and beside mitmproxy.

One web server (bench/web_origin.c), one client (bench/web_load.c), which is put into the sandbox as it is. All ways are measured
in turns, several times; what is printed is the median of the turns.
"""

import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import raw  # noqa: E402
from world import World  # noqa: E402

TOOLS = ROOT / "build" / "host" / "bench"
MITMPROXY = "mitmproxy==11.0.2"  # the last one for Python 3.11
MITM_PORT = 18443
PUBLISHED = "published for mitmproxy: +290 ms, 58-88 MiB"
INSIDE = "/tmp/web_load"

# What a host knows a secret for is opened, another host is passed on.
OPENED, RELAYED = "api.test", "other.test"


def memory_of(pid):
    """Private and proportional bytes of a process, in MiB."""
    sums = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, kib, *_ = line.split()
        sums[name.rstrip(":")] = int(kib) / 1024
    return {"private_mib": sums["Private_Clean"] + sums["Private_Dirty"], "pss_mib": sums["Pss"]}


def cpu_seconds(pid):
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def gate_of(server):
    """The gate of the server's only sandbox: a child of the process that gates are forked from."""
    names = {}
    for pid in server.processes():
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            names[pid] = stat[stat.index("(") + 1:stat.rindex(")")], int(stat[stat.rindex(")") + 2:].split()[1])
    gates = [pid for pid, (name, parent) in names.items()
             if name == "warren-gate" and names.get(parent, ("",))[0] == "warren-gate"]
    if len(gates) != 1:
        sys.exit(f"one gate was expected, not {len(gates)}")
    return gates[0]


class Origin:
    """The web server, and the secret it wants to see."""

    def __init__(self, world):
        self.token = "bench-" + secrets.token_hex(20)
        self.ca = world.authority.pem
        self.names = world.names
        certificate = world.authority.issue(OPENED, RELAYED)
        addresses = sorted({world.names[OPENED], world.names[RELAYED]})
        self.process = subprocess.Popen([TOOLS / "web_origin", certificate, self.token, *addresses], stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            sys.exit("the web server did not start")

    def close(self):
        self.process.terminate()
        self.process.wait()


class Way:
    """One way to the web server."""

    def __init__(self, name, scheme, host, base=None, http2=False, pid=None):
        self.name, self.base = name, base  # base: the same without anything in between
        self.pid = pid  # of what is in between
        self.url = f"{scheme}://{host}"
        self.flags = ["--http2"] if http2 else []
        self.turns = []

    def measure(self, path, *what):
        return json.loads(self.output(path, *what))

    def check(self, secret, scrubbed):
        """Neither a placeholder on the wire nor a secret in the answer would make the figures mean anything."""
        answer = self.output("/echo", "get")
        if scrubbed and (secret in answer or "***" not in answer):
            sys.exit(f"{self.name}: the secret came back: {answer}")

    def timed(self, units, path, *what):
        """The same with the CPU time of what is in between, for each of the units."""
        before = cpu_seconds(self.pid) if self.pid else 0
        result = self.measure(path, *what)
        return {**result, "cpu_us": ((cpu_seconds(self.pid) if self.pid else 0) - before) * 1e6 / units}

    def turn(self, size):
        self.turns.append({
            "kept": self.timed(size.kept, "/small", "kept", size.kept),
            "fresh": self.timed(size.fresh, "/small", "fresh", size.fresh),
            "rate": self.measure("/small", "rate", size.rate_ms),
            "rate16": self.measure("/small", "rate", size.rate_ms, 16),
            "speed": self.timed(size.bytes / 1e6, f"/bytes/{size.bytes}", "speed", size.bytes),
        })

    def result(self):
        def median(what, key):
            return statistics.median(turn[what][key] for turn in self.turns)

        return {
            "name": self.name,
            "kept_p50_ms": median("kept", "p50_ms"), "kept_p99_ms": median("kept", "p99_ms"),
            "fresh_p50_ms": median("fresh", "p50_ms"), "fresh_p99_ms": median("fresh", "p99_ms"),
            "per_second": median("rate", "per_second"), "per_second_16": median("rate16", "per_second"),
            "mb_per_s": median("speed", "mb_per_s"),
            **{f"{what}_cpu_us": median(what, "cpu_us") for what in ("kept", "fresh", "speed")},
            "turns": self.turns,
        }


class Outside(Way):
    """From the host."""

    def __init__(self, name, scheme, host, to, ca, token, **more):
        super().__init__(name, scheme, host, **more)
        self.command = [TOOLS / "web_load", "--to", to, "--ca", ca, "--token", token, *self.flags]

    def output(self, path, *what):
        return subprocess.run([*self.command, self.url + path, *map(str, what)], stdout=subprocess.PIPE, text=True, check=True).stdout


class Inside(Way):
    """From a sandbox."""

    def __init__(self, name, scheme, host, rpc, token, **more):
        super().__init__(name, scheme, host, **more)
        self.rpc, self.token = rpc, token

    def output(self, path, *what):
        words = [INSIDE, *self.flags, "--token", f'"{self.token}"', self.url + path, *map(str, what)]
        return self.rpc.sh(" ".join(words), timeout=300)


class Size:
    """How much is measured, by --count."""

    def __init__(self, count):
        self.turns = 3 if count >= 20 else 1
        self.kept, self.fresh = count * 20, count * 4
        self.rate_ms = count * 40
        self.bytes = min(256, count * 5 + 6) * 1000 * 1000


# --- mitmproxy ---------------------------------------------------------------------------------


def find_mitmproxy():
    """mitmdump in build/venv-mitmproxy, or None when it cannot be had."""
    folder = ROOT / "build" / "venv-mitmproxy"
    program, stamp = folder / "bin" / "mitmdump", folder / "stamp"
    if stamp.exists() and stamp.read_text() == MITMPROXY and program.exists():
        return program
    print(f"-- installing {MITMPROXY} into {folder.relative_to(ROOT)}", flush=True)
    for command in ([sys.executable, "-m", "venv", "--clear", folder],
                    [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", MITMPROXY]):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            print(f"  mitmproxy: not measured: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
            return None
    stamp.write_text(MITMPROXY)
    return program


class Mitmproxy:
    """mitmdump in front of the web server, with an addon that does what the gate does."""

    def __init__(self, program, world, origin):
        self.placeholder = "PLACEHOLDER_" + secrets.token_hex(20)
        folder = world.folder / "mitmproxy"
        self.ca = folder / "mitmproxy-ca-cert.pem"
        self.address = f"127.0.0.1:{MITM_PORT}"
        self.process = subprocess.Popen(
            [*world.wrapper, program, "--quiet", "--set", f"confdir={folder}", "--set", f"ssl_verify_upstream_trusted_ca={origin.ca}",
             "--set", "keep_host_header=true", "--mode", f"reverse:https://{OPENED}:443", "--listen-host", "127.0.0.1",
             "--listen-port", str(MITM_PORT), "-s", ROOT / "bench" / "mitm_addon.py"],
            env={**os.environ, "BENCH_PLACEHOLDER": self.placeholder, "BENCH_SECRET": origin.token})

    def wait(self, way):
        """Until it answers; False: it never did."""
        for _ in range(100):
            if self.process.poll() is not None:
                return False
            done = subprocess.run([*way.command, way.url + "/small", "get"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if done.returncode == 0:
                return True
            time.sleep(0.2)
        return False

    def close(self):
        self.process.terminate()
        self.process.wait()


# --- ways out ----------------------------------------------------------------------------------


def config(origin):
    return {"timeout": "30m", "allow_net": [OPENED, RELAYED], "secrets": {"TOKEN": {"hosts": [OPENED], "value": origin.token}}}


def put_in(rpc):
    stream = rpc.send_all((TOOLS / "web_load").read_bytes())
    result = rpc.run("sh", ["-c", f"cat > {INSIDE} && chmod +x {INSIDE}"], stdinStreamId=stream)
    if result.code != 0:
        sys.exit(f"cannot put the client into the sandbox: {result.err.decode()}")


def direct_ways(origin):
    def way(name, scheme, port, **more):
        return Outside(name, scheme, OPENED, f"{origin.names[OPENED]}:{port}", origin.ca, origin.token, **more)

    return [way("direct, HTTPS", "https", 443), way("direct, HTTPS, HTTP/2", "https", 443, http2=True),
            way("direct, HTTP", "http", 80)]


def gate_ways(rpc, origin, gate):
    def way(name, scheme, host, token, **more):
        return Inside(name, scheme, host, rpc, token, pid=gate, **more)

    return [way("gate, TLS relayed", "https", RELAYED, origin.token, base="direct, HTTPS"),
            way("gate, TLS opened", "https", OPENED, "$TOKEN", base="direct, HTTPS"),
            way("gate, TLS opened, HTTP/2", "https", OPENED, "$TOKEN", base="direct, HTTPS, HTTP/2", http2=True),
            way("gate, HTTP", "http", RELAYED, origin.token, base="direct, HTTP")]


def mitm_ways(mitm):
    def way(name, **more):
        return Outside(name, "https", OPENED, mitm.address, mitm.ca, mitm.placeholder, pid=mitm.process.pid, **more)

    return [way("mitmproxy", base="direct, HTTPS"), way("mitmproxy, HTTP/2", base="direct, HTTPS, HTTP/2", http2=True)]


def print_ways(results):
    by_name = {r["name"]: r for r in results}
    print(f"\none request of 1 KB: ms, and what is added to direct   [goal: added < 1 ms; {PUBLISHED}]")
    print(f"  {'':<26} {'kept p50':>9} {'p99':>8} {'added':>8} {'CPU us':>7}   {'new p50':>9} {'p99':>8} {'added':>8} {'CPU us':>7}")
    for r in results:
        base = by_name.get(r["base"])
        cells = []
        for what in ("kept", "fresh"):
            added = f"{r[what + '_p50_ms'] - base[what + '_p50_ms']:8.3f} {r[what + '_cpu_us']:7.0f}" if base else " " * 16
            cells.append(f"{r[what + '_p50_ms']:9.3f} {r[what + '_p99_ms']:8.3f} {added}")
        print(f"  {r['name']:<26} {'   '.join(cells)}".rstrip())
    print("\nrequests per second, and one large answer")
    print(f"  {'':<26} {'1 connection':>13} {'16':>8}   {'MB/s':>7} {'direct':>8} {'CPU us/MB':>10}")
    for r in results:
        base = by_name.get(r["base"])
        more = f"{r['mb_per_s'] / base['mb_per_s']:7.2f}x {r['speed_cpu_us']:10.0f}" if base else ""
        print(f"  {r['name']:<26} {r['per_second']:13.0f} {r['per_second_16']:8.0f}   {r['mb_per_s']:7.0f} {more}".rstrip())
    print_ratios(by_name)


def print_ratios(by_name):
    for name, peer in (("gate, TLS opened", "mitmproxy"), ("gate, TLS opened, HTTP/2", "mitmproxy, HTTP/2")):
        if peer not in by_name:
            continue
        ours, theirs = by_name[name], by_name[peer]
        base = by_name[ours["base"]]
        print(f"  {name}: " + ", ".join(
            f"{label} {ours[key] / base[key]:.2f} x direct and {ours[key] / theirs[key]:.3f} x {peer.split(',')[0]}"
            for label, key in (("request", "kept_p50_ms"), ("new connection", "fresh_p50_ms"), ("MB/s", "mb_per_s"))))


def measure_ways(ways, size, origin):
    for way in ways:
        way.check(origin.token, "opened" in way.name or "mitmproxy" in way.name)
    for _ in range(size.turns):
        for way in ways:
            way.turn(size)
    results = [{**way.result(), "base": way.base} for way in ways]
    print_ways(results)
    return results


def print_memory(rows):
    print("\nmemory (MiB)   [goal: < 3 private for each sandbox]")
    print(f"  {'':<42} {'private':>9} {'Pss':>9}")
    for r in rows:
        print(f"  {r['name']:<42} {r['private_mib']:9.2f} {r['pss_mib']:9.2f}")
    return rows


def measure_out(args, make_server, world, origin):
    """The ways out, and the memory that was needed for them."""
    size = Size(args.count)
    program = None if args.no_mitmproxy else find_mitmproxy()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(make_server(pool=0, prepared=0))
        rpc = stack.enter_context(raw.create(server, config(origin)))
        gate = gate_of(server)
        memory = [{"name": "gate, idle", **memory_of(gate)}]
        put_in(rpc)
        ways = direct_ways(origin) + gate_ways(rpc, origin, gate)
        mitm = None
        if program:
            mitm = Mitmproxy(program, world, origin)
            stack.callback(mitm.close)
            more = mitm_ways(mitm)
            if mitm.wait(more[0]):
                memory.append({"name": "mitmproxy, idle", **memory_of(mitm.process.pid)})
                ways += more
            else:
                print("  mitmproxy: not measured: it does not answer")
                mitm = None
        opened = next(way for way in ways if way.name == "gate, TLS opened")
        opened.measure("/small", "kept", 1000)
        memory.append({"name": "gate, after 1000 requests", **memory_of(gate)})
        opened.measure("/small", "rate", size.rate_ms, 16)
        memory.append({"name": "gate, after 16 connections at once", **memory_of(gate)})
        results = measure_ways(ways, size, origin)
        time.sleep(2)  # what connections leave goes back a moment after the last one
        memory.append({"name": "gate, at rest after all of the above", **memory_of(gate)})
        if mitm:
            memory.append({"name": "mitmproxy, at rest after all of the above", **memory_of(mitm.process.pid)})
    return {"ways": results, "memory": print_memory(memory)}


# --- creating ----------------------------------------------------------------------------------


def measure_creates(args, make_server, origin):
    """Creates with and without a gate."""
    configs = [("no network", []), ("network and a secret", [json.dumps(config(origin))])]
    spreads, rates = [], []
    seconds = 5 if args.count >= 20 else 1
    for tier, flags in (("pooled", {"pool": 4, "prepared": 8}), ("cold (prepared)", {"pool": 0, "prepared": 8})):
        with make_server(**flags) as server:
            for name, more in configs:
                spreads.append({**server.measure("create", args.count, 100, *more), "name": f"{tier}, {name}"})
            for name, more in configs if flags["pool"] else ():
                rates.append({**server.measure("rate", 4, seconds, *more), "name": f"4 clients, {name}"})
    return spreads, rates


def bench(args, make_server, table, out):
    """make_server(**flags): a server for the test names, still to be entered."""
    with World() as world:
        def make(**flags):
            return make_server(world, **flags)

        origin = Origin(world)
        try:
            result = measure_out(args, make, world, origin)
            spreads, rates = measure_creates(args, make, origin)
        finally:
            origin.close()
    result["create"] = table("create -> connected, with and without a gate", spreads, "pooled, no network")
    result["create_rate"] = table("create and end, per second", rates, "4 clients, no network", "per_second", "/s")
    out["egress"] = result
