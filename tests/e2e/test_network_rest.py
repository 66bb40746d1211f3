"""The network of a sandbox as the API and the command line show it: create options, events, rules."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time

import pytest

import raw
from server import WARREN, clean_environment, wait_until, warren
from test_rest import UNKNOWN_ID, check_error, refused

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
PLACEHOLDER = re.compile(r"DENO_SECRET_PLACEHOLDER_[0-9a-f]{64}")


@pytest.fixture(scope="module")
def http(server):
    with server.http() as client:
        yield client


@pytest.fixture
def make(server):
    """A factory of sandboxes that end with the test."""
    with contextlib.ExitStack() as stack:
        def create(config=None):
            rpc = stack.enter_context(server.create(config))
            stack.callback(server.discard, rpc.sandbox_id)
            return rpc
        yield create


def events(http, sandbox_id, **params):
    return http.get(f"/api/v2/sandboxes/{sandbox_id}/events", params=params).raise_for_status().json()


def types(http, sandbox_id, **params):
    return [e["type"] for e in events(http, sandbox_id, **params)]


def network(http, sandbox_id):
    return http.get(f"/api/v2/sandboxes/{sandbox_id}/network").raise_for_status().json()


def put(http, sandbox_id, body):
    return http.put(f"/api/v2/sandboxes/{sandbox_id}/network", json=body)


def can_fetch(rpc, host):
    """Whether a program in the sandbox gets an answer; a gate may accept to say why not."""
    return rpc.run("curl", ["-sSf", "-m", "10", "-o", "/dev/null", f"https://{host}/"]).code == 0


def wait_event(http, sandbox_id, type, check=lambda e: True):
    found = []

    def there():
        found[:] = [e for e in events(http, sandbox_id, type=type) if check(e)]
        return found

    wait_until(there, 10, f"an event {type}")
    return found[0]


# --- create ------------------------------------------------------------------------------------

@pytest.mark.parametrize("config, field, text", [
    ({"allow_net": "example.com"}, "allow_net", "list"),
    ({"allow_net": ["ok.example", "http://x"]}, "allow_net", "http://x"),
    ({"allow_net": ["a:99999"]}, "allow_net", "a:99999"),
    ({"allow_net": [""]}, "allow_net", "non-empty"),
    ({"secrets": {"K": {"hosts": ["a.example"]}}}, "secrets", "K: has no value"),
    ({"secrets": {"K": {"hosts": ["a.example"], "value": None}}}, "secrets", "K: has no value"),
    ({"secrets": {"K": {"hosts": [], "value": "v"}}}, "secrets", "at least one host"),
    ({"secrets": {"K": {"hosts": ["a:x"], "value": "v"}}}, "secrets", "a:x"),
    ({"secrets": {"K": {"hosts": ["a"], "value": "two\nlines"}}}, "secrets", "line break"),
    ({"secrets": {"K": {"hosts": ["a"], "value": "x" * 16385}}}, "secrets", "16384"),
    ({"secrets": {f"K{i}": {"hosts": ["a"], "value": "v"} for i in range(65)}}, "secrets", "64"),
    ({"secrets": {"K": {"hosts": ["a"], "value": "v"}}, "env": {"K": "v"}}, "secrets", "env"),
])
def test_bad_options(server, config, field, text):
    refusal = refused(server, config)
    assert refusal.status == 400
    assert refusal.json["code"] == "MALFORMED_REQUEST"
    assert refusal.json["message"].startswith(field)
    assert text in refusal.json["message"]


def test_no_rule_no_gate(make, http):
    for config in ({}, {"allow_net": []}, {"allow_net": None}):
        rpc = make(config)
        got = network(http, rpc.sandbox_id)
        assert got["allowNet"] == [] and got["gate"] == "none" and got["secrets"] == []
        assert got["default"] is (config.get("allow_net") is None)
        assert not can_fetch(rpc, "example.com")


def test_placeholders_without_a_gate(make, http):
    secret = "kept-from-everybody"
    rpc = make({"secrets": {"API_KEY": {"hosts": ["api.example"], "value": secret}}})
    value = rpc.call("envGet", {"key": "API_KEY"})
    assert PLACEHOLDER.fullmatch(value)
    assert network(http, rpc.sandbox_id)["gate"] == "none"
    other = make({"secrets": {"API_KEY": {"hosts": ["api.example"], "value": secret}}})
    assert other.call("envGet", {"key": "API_KEY"}) != value
    assert secret not in json.dumps(events(http, rpc.sandbox_id))


def test_gate_with_rules(make, http):
    rpc = make({"allow_net": ["a.example:443", "*.b.example"],
                "secrets": {"API_KEY": {"hosts": ["a.example"], "value": "not-shown"}}})
    assert network(http, rpc.sandbox_id) == {
        "allowNet": ["a.example:443", "*.b.example"], "default": False, "gate": "open",
        "secrets": ["API_KEY"]}
    assert PLACEHOLDER.fullmatch(rpc.call("envGet", {"key": "API_KEY"}))
    created, started = events(http, rpc.sandbox_id)[:2]
    assert created["type"] == "created" and started["type"] == "started"
    assert created["allowNet"] == ["a.example:443", "*.b.example"]
    assert created["secrets"] == ["API_KEY"]


def test_denials_reach_the_sandbox(make, http):
    rpc = make({"allow_net": ["a.example"]})
    assert not can_fetch(rpc, "denied.example")
    event = wait_event(http, rpc.sandbox_id, "denied", lambda e: "denied.example" in e["host"])
    assert event["reason"]

    def lines():
        text = rpc.sh("cat /run/warren/denials.jsonl 2>&1 || true")
        return [json.loads(line) for line in text.splitlines() if "denied.example" in line]

    wait_until(lines, 10, "the denial to be readable inside")
    line = lines()[0]
    assert line["reason"] == event["reason"] and TIME.fullmatch(line["time"])
    assert "allowNet" in line["hint"]


# --- events ------------------------------------------------------------------------------------

def test_life_as_events(make, server, http):
    rpc = make({"timeout": "5m", "memory_mb": 1024})
    sandbox_id = rpc.sandbox_id
    assert types(http, sandbox_id) == ["created", "started"]
    assert server.delete(sandbox_id).status_code == 200
    got = events(http, sandbox_id)
    assert [e["type"] for e in got] == ["created", "started", "ended"]
    assert all(TIME.fullmatch(e["time"]) for e in got)
    assert got[0]["memoryMb"] == 1024
    assert got[2]["reason"] == "killed-by"
    ids = [e["id"] for e in got]
    assert ids == sorted(set(ids))


def test_pages_and_filters(make, http):
    sandbox_id = make({"timeout": "5m"}).sandbox_id
    for i in range(6):
        assert put(http, sandbox_id, {"allowNet": []}).status_code == 200
    path = f"/api/v2/sandboxes/{sandbox_id}/events"
    whole = events(http, sandbox_id)
    assert len(whole) == 8
    url, seen = path + "?limit=3", []
    while url:
        answer = http.get(url).raise_for_status()
        assert len(answer.json()) <= 3
        seen += answer.json()
        link = answer.headers.get("link")
        match = link and re.fullmatch(r'<(http://[^,;>]*)>; rel="next"', link)
        assert bool(match) == bool(link)
        url = match and match[1]
    assert seen == whole
    assert types(http, sandbox_id, type="policy") == ["policy"] * 6
    assert events(http, sandbox_id, after=whole[4]["id"]) == whole[5:]
    filtered = http.get(path, params={"type": "policy", "limit": 2})
    assert "type=policy" in filtered.headers["link"]


@pytest.mark.parametrize("query, field", [
    ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("after=-1", "after"),
    ("after=x", "after"), ("type=nonsense", "type"), ("type=", "type"),
    ("after=99999999999999999999", "after")])
def test_bad_questions(box, http, query, field):
    body = check_error(http.get(f"/api/v2/sandboxes/{box.sandbox_id}/events?{query}"), 400,
                       "MALFORMED_REQUEST")
    assert body["message"].startswith(field + ":")


def test_others_see_nothing(make, server, http):
    sandbox_id = make({"timeout": "5m"}).sandbox_id
    with server.http(server.new_token(org="strangers")) as stranger:
        for path in ("events", "network"):
            check_error(stranger.get(f"/api/v2/sandboxes/{sandbox_id}/{path}"), 404,
                        "SANDBOX_NOT_FOUND")
        check_error(put(stranger, sandbox_id, {"allowNet": ["*"]}), 404, "SANDBOX_NOT_FOUND")
        answer = stranger.get(f"/api/v2/sandboxes/{sandbox_id}/events",
                              headers={"accept": "text/event-stream"})
        check_error(answer, 404, "SANDBOX_NOT_FOUND")
    with server.http(None) as nobody:
        for path in ("events", "network"):
            check_error(nobody.get(f"/api/v2/sandboxes/{sandbox_id}/{path}"), 401, "INVALID_TOKEN")
    for path in ("events", "network"):
        check_error(http.get(f"/api/v2/sandboxes/{UNKNOWN_ID}/{path}"), 404, "SANDBOX_NOT_FOUND")
    assert network(http, sandbox_id)["allowNet"] == []


# --- stream ------------------------------------------------------------------------------------

class Events:
    """Reads server-sent events from a socket."""

    def __init__(self, server, sandbox_id, query="", headers=()):
        self.wire = raw.Wire(server.host, server.port)
        lines = [f"GET /api/v2/sandboxes/{sandbox_id}/events{query} HTTP/1.1", "host: x",
                 f"authorization: Bearer {server.token}", "accept: text/event-stream", *headers]
        self.wire.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = self.wire.take_until(b"\r\n\r\n").decode().lower()
        assert head.startswith("http/1.1 200 ") and "content-type: text/event-stream" in head

    def next(self):
        """The next event as (id, type, data); None at the end."""
        while True:
            try:
                block = self.wire.take_until(b"\n\n").decode().rstrip("\n")
            except EOFError:
                return None
            if block.startswith(":"):
                continue
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            data = json.loads(fields["data"])
            assert int(fields["id"]) == data["id"] and fields["event"] == data["type"]
            return data

    def close(self):
        self.wire.close()


def test_stream_backlog_then_live_then_end(make, server, http):
    sandbox_id = make({"timeout": "5m"}).sandbox_id
    stream = Events(server, sandbox_id)
    assert [stream.next()["type"] for _ in range(2)] == ["created", "started"]
    assert put(http, sandbox_id, {"allowNet": []}).status_code == 200
    live = stream.next()
    assert live["type"] == "policy" and live["allowNet"] == []
    again = Events(server, sandbox_id, "?after=0", [f"last-event-id: {live['id']}"])
    only = Events(server, sandbox_id, "?type=ended")
    server.delete(sandbox_id)
    for one in (stream, again, only):
        assert one.next()["type"] == "ended"
        assert one.next() is None
        one.close()
    assert events(http, sandbox_id, after=live["id"])[0]["type"] == "ended"
    # What has ended is still there to be read, and ends at once.
    late = Events(server, sandbox_id)
    assert [late.next()["type"] for _ in range(4)] == ["created", "started", "policy", "ended"]
    assert late.next() is None


def test_clients_of_streams_may_vanish(make, server, http):
    sandbox_id = make({"timeout": "5m"}).sandbox_id
    for _ in range(20):
        stream = Events(server, sandbox_id)
        stream.next()
        stream.wire.reset()
    assert put(http, sandbox_id, {"allowNet": []}).status_code == 200
    assert types(http, sandbox_id)[-1] == "policy"


# --- rules -------------------------------------------------------------------------------------

def test_rules_can_be_changed(make, http):
    sandbox_id = make({"allow_net": ["a.example"]}).sandbox_id
    answer = put(http, sandbox_id, {"allowNet": ["b.example:443", "*.c.example"]})
    assert answer.status_code == 200
    assert answer.json()["allowNet"] == ["b.example:443", "*.c.example"]
    assert isinstance(answer.json()["closed"], int)
    assert network(http, sandbox_id)["allowNet"] == ["b.example:443", "*.c.example"]
    # None is allowed, but the gate stays.
    assert put(http, sandbox_id, {"allowNet": []}).json()["gate"] == "open"
    assert put(http, sandbox_id, {"allowNet": None}).json()["default"] is True
    policies = events(http, sandbox_id, type="policy")
    assert [e["allowNet"] for e in policies] == [["b.example:443", "*.c.example"], [], []]
    assert policies[2]["default"] is True and "default" not in policies[1]


def test_a_gate_can_be_opened_later(make, http):
    rpc = make({"allow_net": []})
    assert network(http, rpc.sandbox_id)["gate"] == "none"
    answer = put(http, rpc.sandbox_id, {"allowNet": ["a.example"]})
    assert answer.status_code == 200 and answer.json()["gate"] == "open"
    assert not can_fetch(rpc, "denied.example")
    wait_event(http, rpc.sandbox_id, "denied")


@pytest.mark.parametrize("body, text", [
    ({}, "allowNet: expected"), ([], "allowNet: expected"), ({"allowNet": "x"}, "list of strings"),
    ({"allowNet": ["a:b"]}, "a:b"), ({"allowNet": [1]}, "string"),
    ({"allowNet": ["a.example"] * 1001}, "1000")])
def test_bad_rules(box, http, body, text):
    answer = check_error(put(http, box.sandbox_id, body), 400, "MALFORMED_REQUEST")
    assert text in answer["message"]
    assert network(http, box.sandbox_id)["allowNet"] == []


def test_no_rules_for_what_has_ended(make, server, http):
    sandbox_id = make({"timeout": "5m"}).sandbox_id
    server.delete(sandbox_id)
    check_error(put(http, sandbox_id, {"allowNet": []}), 400, "SANDBOX_ALREADY_TERMINATED")
    check_error(http.get(f"/api/v2/sandboxes/{sandbox_id}/network"), 400,
                "SANDBOX_ALREADY_TERMINATED")


def test_end_of_the_gate_is_the_end_of_the_network(fresh_server):
    one = fresh_server("--pool", "0")  # spares may have gates, too
    with one.create({"timeout": "5m", "allow_net": ["a.example"]}) as rpc, one.http() as http:
        (gate,) = one.gates()
        os.kill(gate, signal.SIGKILL)
        wait_event(http, rpc.sandbox_id, "gate-ended")
        assert network(http, rpc.sandbox_id)["gate"] == "ended"
        assert not can_fetch(rpc, "a.example")
        assert rpc.sh("echo alive").strip() == "alive"
        # And can be had again.
        assert put(http, rpc.sandbox_id, {"allowNet": ["b.example"]}).json()["gate"] == "open"


def test_gates_of_spares(fresh_server):
    """Made ahead for the next create; one that is killed, or not wanted, is nobody's loss."""
    one = fresh_server("--pool", "1")
    with one.create({"timeout": "5m", "allow_net": ["a.example"]}) as first:
        wait_until(lambda: len(one.gates()) == 2, 10, "a gate ahead")
        with one.create({"timeout": "5m", "allow_net": ["b.example"], "secrets": {"K": {"hosts": ["b.example"], "value": "v-value"}}}) as second:
            assert PLACEHOLDER.fullmatch(second.sh("echo $K").strip())
            assert "BEGIN CERTIFICATE" in second.sh("cat /usr/local/share/ca-certificates/warren-sandbox.crt")
            wait_until(lambda: len(one.gates()) == 3, 10, "a gate ahead")
            with one.create({"timeout": "5m"}) as third, one.http() as http:
                assert network(http, third.sandbox_id)["gate"] == "none"
                assert third.sh("echo [$SSL_CERT_FILE]") == "[]\n"
                assert not can_fetch(third, "a.example")
            wait_until(lambda: len(one.gates()) == 3, 10, "another gate ahead")
            for gate in one.gates():
                os.kill(gate, signal.SIGKILL)
            with one.http() as http:
                wait_event(http, first.sandbox_id, "gate-ended")
                wait_event(http, second.sandbox_id, "gate-ended")
                time.sleep(0.2)  # the end of the spare's gate shows nowhere
                with one.create({"timeout": "5m", "allow_net": ["c.example"]}) as fourth:
                    assert network(http, fourth.sandbox_id)["gate"] == "open"


def test_default_allows(fresh_server):
    one = fresh_server("--egress-default", "allow")
    with one.create() as rpc, one.http() as http:
        got = network(http, rpc.sandbox_id)
        assert got["allowNet"] == ["*"] and got["default"] is True and got["gate"] == "open"
    with one.create({"allow_net": []}) as rpc, one.http() as http:
        assert network(http, rpc.sandbox_id)["gate"] == "none"


def test_number_of_events_is_bounded(fresh_server):
    one = fresh_server("--max-events", "20")
    with one.create({"timeout": "5m"}) as rpc, one.http() as http:
        for _ in range(60):
            assert put(http, rpc.sandbox_id, {"allowNet": []}).status_code == 200
        assert 20 <= len(events(http, rpc.sandbox_id)) <= 24
        one.delete(rpc.sandbox_id)
        left = events(http, rpc.sandbox_id)
        assert len(left) == 20 and left[-1]["type"] == "ended"


# --- command line --------------------------------------------------------------------------------

def test_command_events(make, server, http):
    sandbox_id = make({"timeout": "5m"}).sandbox_id
    where = ["--state-dir", server.state_dir]
    lines = warren("events", sandbox_id, *where).stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["created", "started"]
    assert all(TIME.fullmatch(line.split()[0]) for line in lines)
    out = warren("events", sandbox_id, "--json", "--type", "started", *where).stdout
    assert json.loads(out)["type"] == "started"
    for arguments, code in [(["events", UNKNOWN_ID], 4), (["events"], 2), (["network"], 2),
                            (["events", sandbox_id, "--type", "x"], 1), (["network", "../x"], 4),
                            (["network", sandbox_id, "--allow", "a:b"], 1),
                            (["network", sandbox_id, "--deny-all", "--default"], 2)]:
        done = warren(*arguments, *where, check=False)
        assert (done.returncode, bool(done.stderr)) == (code, True), (arguments, done)


def test_command_events_many_pages(make, server, http):
    sandbox_id = make({"timeout": "5m"}).sandbox_id
    for _ in range(1005):
        put(http, sandbox_id, {"allowNet": []})
    lines = warren("events", sandbox_id, "--json", "--state-dir", server.state_dir).stdout.splitlines()
    ids = [json.loads(line)["id"] for line in lines]
    assert len(ids) == 1007 and ids == sorted(set(ids))


def test_command_events_follow(make, server, http):
    sandbox_id = make({"timeout": "5m"}).sandbox_id
    child = subprocess.Popen(
        [str(WARREN), "events", sandbox_id, "--follow", "--state-dir", str(server.state_dir)],
        stdout=subprocess.PIPE, text=True, env=clean_environment())
    assert child.stdout.readline().split()[1] == "created"
    assert child.stdout.readline().split()[1] == "started"
    put(http, sandbox_id, {"allowNet": []})
    assert child.stdout.readline().split()[1] == "policy"
    server.delete(sandbox_id)
    assert child.stdout.readline().split()[1:3] == ["ended", "reason=killed-by"]
    assert child.wait(raw.HANG) == 0


def test_command_network(make, server, http):
    sandbox_id = make({"allow_net": ["a.example"]}).sandbox_id
    where = ["--state-dir", server.state_dir]
    assert "a.example" in warren("network", sandbox_id, *where).stdout
    out = warren("network", sandbox_id, "--allow", "b.example:443", "--allow=[::1]", "--json",
                 *where).stdout
    assert json.loads(out)["allowNet"] == ["b.example:443", "[::1]"]
    warren("network", sandbox_id, "--deny-all", *where)
    assert network(http, sandbox_id)["allowNet"] == []
    assert network(http, sandbox_id)["default"] is False
    warren("network", sandbox_id, "--default", *where)
    assert network(http, sandbox_id)["default"] is True


def test_command_by_environment(make, server):
    sandbox_id = make({"timeout": "5m"}).sandbox_id
    def run(**env):
        return warren("network", sandbox_id, check=False, env=clean_environment(**env)).returncode
    assert run(**server.env) == 0
    assert run(**{**server.env, "DENO_DEPLOY_TOKEN": "ddo_" + "x" * 40}) == 3
    assert run(**{**server.env, "DENO_SANDBOX_ENDPOINT": "http://127.0.0.1:1"}) == 6
    assert run(**{**server.env, "DENO_SANDBOX_ENDPOINT": "ftp://x"}) == 1
