"""Where a request ends: the gate, and the servers of others behind it, must agree on that, whatever a program inside sends.

Each case goes out on a connection to a name of its own, so that what an origin saw, and the flow that the gate has recorded, are known to
belong to it.
"""

import base64
import contextlib
import json
import os
import re
import ssl

import pytest

import smuggling
from conftest import running
from origins import Origin
from server import wait_until
from test_egress import make
from world import World

CLIENTS = ("python", "curl", "node")
KINDS = ("nginx", "node", "h2o", "python")
PORTS = (80, 8080, 443)
NAMES_PER_ORIGIN = 200
PACE = 0.012
PAUSE = 1.3  # a gate waits for a second for the rest of a line
SECRET = "sk-smuggled-Zm9vYmFyUXV1eA"
SEED = int(os.environ.get("WARREN_SMUGGLING_SEED", "20261126"))  # other mutations with another one
MUTATIONS = int(os.environ.get("WARREN_SMUGGLING_MUTATIONS") or 60)  # for each origin and port


@pytest.fixture(scope="module")
def world():
    with World() as one:
        lines = "".join(f"{one.names[kind + '.test']} " + " ".join(f"c{i}.{kind}.test" for i in range(at, at + 20)) + "\n"
                        for kind in KINDS for at in range(0, NAMES_PER_ORIGIN, 20))
        one.hosts.write_text(one.hosts.read_text() + lines)
        yield one


@pytest.fixture(scope="module")
def gated(world):
    with running(flags=["--log-level", "debug", *world.flags], wrapper=world.wrapper) as one:
        one.shared = True
        yield one


@pytest.fixture(scope="module", params=KINDS)
def origin(request, world):
    missing = Origin.missing(request.param)
    if missing:
        pytest.skip(f"{missing} is not installed")
    one = Origin(world, request.param, request.param + ".test")
    try:
        wait_until(one.listens, 10, f"{request.param} to listen")
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def box(gated, origin):
    name = "*." + origin.name
    with make(gated, [name], secrets={"KEY": {"hosts": [name], "value": SECRET}}) as rpc:
        rpc.key = rpc.sh("echo $KEY").strip()
        yield rpc
    gated.discard(rpc.sandbox_id)


# --- one batch of cases --------------------------------------------------------------------------


ANSWER = re.compile(rb"HTTP/1\.1 200 [^\r]*\r\n(?:[^\r]+\r\n)*?x-origin:", re.I)


class Case:
    def __init__(self, number, template, origin, port, key):
        self.number = number
        self.name = f"c{number}.{origin.name}"
        self.authority = self.name if port != 8080 else self.name + ":8080"
        # In plain text a placeholder is an event of its own: some are enough.
        self.data = smuggling.fill(template, number, self.authority, key if port == 443 or number % 4 == 0 else "none")
        self.strict = smuggling.read_strictly(self.data)
        self.seen, self.got, self.how, self.counted = [], b"", "", None

    def __repr__(self):
        return (f"case {self.number}\n sent {self.data[:1500]!r}\n strict {self.strict}\n got {self.got[:600]!r} {self.how}\n"
                f" counted {self.counted}\n seen {self.seen}")


def events_after(gated, rpc, after, **params):
    found = []
    with gated.http() as http:
        while page := http.get(f"/api/v2/sandboxes/{rpc.sandbox_id}/events",
                               params={"limit": 1000, "after": after, **params}).raise_for_status().json():
            found += page
            after = page[-1]["id"]
    return found


def count_flows(gated, rpc, cases, port, after):
    """What the gate has passed on, by connection; it reports a connection when that is over."""
    by_name = {c.name: c for c in cases}

    def look():
        for e in events_after(gated, rpc, after, type="flow"):
            if e["port"] == port and e["host"] in by_name:
                by_name[e["host"]].counted = e.get("requests", 0)
        return not [c for c in cases if c.counted is None]

    # It may have been too much at once for the record, which says so.
    wait_until(lambda: look() or events_after(gated, rpc, after, type="dropped") or quiet(cases), 10, "all flows")
    look()


def quiet(cases):
    """Whether those without a flow are refusals before there was one."""
    return all(b"EGRESS" in c.got and not c.seen for c in cases if c.counted is None)


def assign(records, cases, port):
    """Gives each case what the origin has seen of it: the name tells, or the number in the target of what the origin could not read."""
    by_host, by_number = {c.authority: c for c in cases}, {str(c.number): c for c in cases}
    for seen in records:
        if seen.get("line") == "PRI * HTTP/2.0":  # the preface of a program that wants HTTP/2 is no request
            continue
        case = by_host.get(seen["host"])
        if seen.get("status") == "400" and not seen["host"]:
            # nginx refuses "*"; and what is not HTTP may go to any port but the one of HTTP, and was refused there.
            if port == 8080 or seen["line"] == "OPTIONS * HTTP/1.1":
                continue
            number = re.search(r"-(\d+)", seen["line"])
            case = by_number.get(number and number[1])
            seen["method"], seen["target"] = (seen["line"].split(" ") + ["", ""])[:2]
        assert case, f"a request that belongs to no connection of this batch: {seen}"
        case.seen.append(seen)


def send(gated, rpc, origin, port, templates, cuts=(0,)):
    """Sends each case, and collects all that there is to know about it."""
    assert len(templates) <= NAMES_PER_ORIGIN
    cases = [Case(n, t, origin, port, rpc.key) for n, t in enumerate(templates)]
    plan = {"port": port, "tls": port == 443, "mark": "x-origin", "pause": PAUSE, "pace": PACE,
            "cases": [[c.name, base64.b64encode(c.data).decode(), len(c.strict), cuts[c.number % len(cuts)]] for c in cases]}
    before = len(origin.settle())
    after = max([e["id"] for e in events_after(gated, rpc, 0)], default=0)
    rpc.call("writeTextFile", {"path": "/tmp/probe.py", "content": smuggling.PROBE})
    stream = rpc.send_all(json.dumps(plan).encode())
    rpc.call("writeFile", {"path": "/tmp/plan.json", "contentStreamId": stream})
    for case, (got, how) in zip(cases, json.loads(rpc.sh("python3 /tmp/probe.py /tmp/plan.json", timeout=100))):
        case.got, case.how = base64.b64decode(got), how
    assign(origin.settle()[before:], cases, port)
    count_flows(gated, rpc, cases, port, after)
    return cases


def is_part(some, whole):
    """Whether some are in whole, in the same order."""
    rest = iter(whole)
    return all(one in rest for one in some)


def slashes(target):
    return re.sub("^/+", "/", target)


def judge(case, port):
    """What is wrong with a case, or None."""
    value, answers = SECRET.encode(), len(ANSWER.findall(case.got))
    if case.how == "hang":
        return "it hangs"
    # Python makes one slash of several in front.
    if not is_part([(s["method"], slashes(s["target"])) for s in case.seen], [(r[0], slashes(r[1])) for r in case.strict]):
        return "the origin saw what is no request"
    if not answers <= len(case.seen):
        return "more answers than requests"
    if case.counted is not None and len(case.seen) > case.counted:
        return "the origin saw more requests than the gate"
    lengths = [(slashes(s["target"]), s["body"]) for s in case.seen if s.get("whole")]
    if not is_part(lengths, [(slashes(r[1]), r[2]) for r in case.strict]):
        return "the origin saw another body"
    if value in case.got:
        return "the secret came back"
    for s in case.seen:
        # Its header may have another name by a mutation.
        if SECRET in json.dumps({**s, "key": "", "raw": ""} if port == 443 else s):
            return "the secret is where it does not belong"
    return None


def check(gated, rpc, origin, port, templates, **how):
    alive = gated.gates()
    cases = []
    for at in range(0, len(templates), NAMES_PER_ORIGIN):
        cases += send(gated, rpc, origin, port, templates[at:at + NAMES_PER_ORIGIN], **how)
    wrong = [(why, c) for c in cases if (why := judge(c, port))]
    assert not wrong, f"seed {SEED}: {len(wrong)} of {len(cases)} cases\n" + "\n".join(f"{why}: {c}" for why, c in wrong[:5])
    (last,) = send(gated, rpc, origin, port, [smuggling.get()])
    assert last.counted == 1 and len(last.seen) == 1 and last.got.startswith(b"HTTP/1.1 200"), last
    assert alive <= gated.gates(), "the gate has ended"
    return cases


# --- requests --------------------------------------------------------------------------------------


@pytest.mark.hang(180)
@pytest.mark.parametrize("port", PORTS)
def test_tricks(gated, box, origin, port):
    """A third of the known ones for each port, so that every origin meets all of them, and new ones made from them."""
    third = (KINDS.index(origin.kind) + PORTS.index(port)) % 3
    known = list(smuggling.corpus())[third::3]
    made = smuggling.mutations(f"{SEED} {origin.kind} {port}", MUTATIONS)
    cases = check(gated, box, origin, port, known + made)
    # Otherwise the test would show nothing.
    assert sum(len(c.strict) > 0 and len(c.seen) > 0 for c in cases) > 40, [c for c in cases if c.strict and not c.seen][:20]
    assert sum(len(c.seen) > 1 for c in cases) > 8


def test_requests_in_two_pieces(gated, box, origin):
    """What does not look like HTTP before a pause may be HTTP after it."""
    cuts = (1, 2, 3, 4, 5, 14, 15, 16, 17, 41)
    lines = [b"GET /first-ID HTTP/1.1", b"G!T /first-ID HTTP/1.1", b"\r\n GET /first-ID HTTP/1.1", b"XX /first-ID HTTP/1.1", b"A" * 40 + b" /first-ID HTTP/1.1"]
    known = [smuggling.get(line=line, host=host) + smuggling.FOREIGN for line in lines for host in (b"Host: HOST\r\n", b"Host: evil.test\r\n")]
    # Each of the cases with each of the cuts.
    check(gated, box, origin, 8080, [case for case in known for _ in cuts], cuts=cuts)


# --- answers ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(world):
    """A host that answers /a-N as the Nth trick says, and anything else with what was asked for."""
    tricks = list(smuggling.answers())
    context = world.tls_context("hostile.test")

    def serve(sock):
        sock.settimeout(10)
        reader = sock.makefile("rb")
        while line := reader.readline():
            while reader.readline() not in (b"\r\n", b""):
                pass
            path = line.split(b" ")[1].decode()
            if not path.startswith("/a-"):
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nown %s" % (4 + len(path), path.encode()))
                continue
            trick = tricks[int(path[3:])]
            sock.sendall(trick.removesuffix(b"CLOSE"))
            if trick.endswith(b"CLOSE"):
                return

    def serve_tls(sock):
        sock.settimeout(10)
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(sock, server_side=True) as tls:
            serve(tls)

    world.tcp("hostile.test", 80, serve)
    world.tcp("hostile.test", 443, serve_tls)
    return tricks


@pytest.fixture(scope="module")
def victim(gated, hostile):
    with make(gated, ["hostile.test"], secrets={"KEY": {"hosts": ["hostile.test"], "value": SECRET}}) as rpc:
        yield rpc
    gated.discard(rpc.sandbox_id)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("client", CLIENTS)
def test_answers_are_not_mixed_up(gated, victim, hostile, client, scheme):
    """Two requests on a kept connection: whatever the first gets, the second gets its own answer, or none."""
    alive = gated.gates()
    name, command, program = smuggling.CLIENTS[client]
    victim.call("writeTextFile", {"path": "/tmp/" + name, "content": program})
    got = json.loads(victim.sh(f"{command} /tmp/{name} {scheme}://hostile.test {len(hostile)}", timeout=55))
    wrong = [(trick[:300], answer) for i, (trick, answer) in enumerate(zip(hostile, got))
             if answer != f"own /b-{i}" and not re.match(r'error|\{"error":"EGRESS_', answer)]
    assert not wrong
    assert len(got) == len(hostile) and sum(a.startswith("own") for a in got) > 4, got
    assert victim.sh(f"curl -sS {scheme}://hostile.test/fine") == "own /fine"
    assert alive <= gated.gates()
