"""Secrets on the wire: put in for placeholders on the way out, taken out of what comes back, and nowhere else."""

import base64
import glob
import gzip
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from conftest import running
from server import wait_until
from test_egress import curl, event, events, make, put_network
from test_secrets_memory import find
from world import World, forms

SECRET = "sk-live/Zm9v+bar=~quux%42\"x\\y"
TOKEN = "ghp_plainTokenWithoutOddCharacters0123456789"


@pytest.fixture(scope="module")
def world():
    with World() as one:
        one.http("api.test")
        one.http("api.test", 443, names=["api.test", "*.api.test"])
        one.http("other.test", 443, names=["other.test"])
        one.http("other.test", 80)
        one.http("badcert.test", 443, names=["wrong.test"])
        one.h2("h2.test", 443)
        one.websocket("api.test", 8443)
        yield one


@pytest.fixture(scope="module")
def gated(world):
    with running(flags=["--log-level", "debug", *world.flags], wrapper=world.wrapper) as one:
        one.shared = True
        yield one


SECRETS = {
    "API_KEY": {"hosts": ["api.test", "h2.test", "badcert.test"], "value": SECRET},
    "TOKEN": {"hosts": ["api.test:443", "*.api.test"], "value": TOKEN},
}


@pytest.fixture(scope="module")
def box(gated):
    with make(gated, ["api.test", "*.api.test", "other.test", "h2.test", "badcert.test"], secrets=SECRETS) as rpc:
        yield rpc
    gated.discard(rpc.sandbox_id)


# --- placeholders -----------------------------------------------------------------------------


def test_environment_shows_a_placeholder(box):
    assert re.fullmatch(r"DENO_SECRET_PLACEHOLDER_[0-9a-f]{64}\n", box.sh("echo $API_KEY"))
    assert box.sh("echo $API_KEY") != box.sh("echo $TOKEN")


def test_placeholders_differ_between_sandboxes(gated, box):
    with make(gated, ["api.test"], secrets=SECRETS) as rpc:
        assert rpc.sh("echo $API_KEY") != box.sh("echo $API_KEY")
    gated.discard(rpc.sandbox_id)


# --- out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("header,sent", [
    ("Authorization: Bearer {}", "Bearer " + SECRET),
    ("X-Api-Key: {}", SECRET),
    ("X-Both: a{}b{}c", f"a{SECRET}b{SECRET}c"),
    ("Cookie: session={}", "session=" + SECRET),
])
def test_put_into_headers(box, world, header, sent):
    mark = f"/put?{abs(hash(header))}"
    box.sh(f"curl -sS -H \"{header.format('${API_KEY}', '${API_KEY}')}\" https://api.test{mark}")
    (seen,) = world.requests(path=mark)
    assert world.header(seen, header.split(":")[0].lower()) == [sent]


def test_put_into_basic_authorization(box, world):
    box.sh('curl -sS -u "user:$TOKEN" https://api.test/basic')
    (value,) = world.header(world.requests(path="/basic")[-1], "authorization")
    assert base64.b64decode(value.removeprefix("Basic ")) == f"user:{TOKEN}".encode()


def test_used_secrets_are_in_the_audit(box, gated):
    box.sh('curl -sS -H "X-Api-Key: $API_KEY" https://api.test/audit')
    assert event(gated, box, "flow", host="api.test", protocol="https", secrets=["API_KEY"])["requests"] == 1


@pytest.mark.parametrize("where,command", [
    ("another host", 'curl -sS -H "X-Key: $API_KEY" https://other.test/stray?{}'),
    ("plain http", 'curl -sS -H "X-Key: $API_KEY" http://api.test/stray?{}'),
    ("the target", 'curl -sS "https://api.test/stray?{}&k=$API_KEY"'),
    ("the body", 'curl -sS -d "k=$API_KEY" https://api.test/stray?{}'),
    ("an echo-prone header", 'curl -sS -H "User-Agent: $API_KEY" https://api.test/stray?{}'),
    ("a port it is not for", 'curl -sS -H "X-Key: $TOKEN" http://api.test/stray?{}'),
])
def test_nowhere_else(box, gated, world, where, command):
    mark = str(abs(hash(where)))
    placeholder = box.sh("echo $TOKEN" if "TOKEN" in command else "echo $API_KEY").strip()
    before = len(events(gated, box, type="placeholder"))
    box.sh(command.format(mark))
    (seen,) = [s for s in world.seen if mark in s["path"]]
    text = json.dumps([seen["path"], seen["headers"], seen["body"].decode()])
    assert SECRET not in text and TOKEN not in text and placeholder in text
    if where != "another host":  # TLS to a host without secrets is not looked into
        wait_until(lambda: len(events(gated, box, type="placeholder")) > before, 10, "the event")


def test_secret_and_rule_are_both_needed(gated, world):
    with make(gated, ["other.test"], secrets={"K": {"hosts": ["api.test"], "value": SECRET}}) as rpc:
        assert rpc.sh('curl -sS -H "X-K: $K" https://api.test/', check=False).code == 35
    gated.discard(rpc.sandbox_id)
    with gated.create({"timeout": "5m", "secrets": {"K": {"hosts": ["api.test"], "value": SECRET}}}) as rpc:
        assert rpc.sh("echo $K").startswith("DENO_SECRET_PLACEHOLDER_")
        assert rpc.sh("curl -sS --max-time 5 https://api.test/", check=False).code in (6, 7)
    gated.discard(rpc.sandbox_id)


def test_sni_and_host_must_agree_where_tls_is_opened(box, gated):
    out = box.sh('curl -sS -w "%{http_code}" -H "Host: other.test" -H "X-Key: $API_KEY" https://api.test/mismatch')
    assert "host-mismatch" in out and out.endswith("403")


# --- sessions -----------------------------------------------------------------------------------


def test_sessions_with_a_host_are_resumed_for_that_name_only(gated, world):
    """Both names are one server, which would take the session of either for the other."""
    with make(gated, ["*.api.test", "api.test"], secrets=SECRETS) as rpc:
        for host in ("api.test", "api.test", "www.api.test", "www.api.test"):
            assert rpc.sh(f'curl -sS -H "X-Key: $TOKEN" https://{host}/session').startswith("hello")
    gated.discard(rpc.sandbox_id)
    seen = world.requests(path="/session")
    assert [s["resumed"] for s in seen] == [False, True, False, True]
    assert all(world.header(s, "x-key") == [TOKEN] for s in seen)


# --- trust --------------------------------------------------------------------------------------

CLIENTS = {
    "curl": "curl -sS https://{host}/trust",
    "curl as root": "sudo curl -sS https://{host}/trust",
    "openssl": "printf 'GET /trust HTTP/1.0\\r\\nHost: {host}\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error -connect {host}:443 2>/dev/null || true",
    "python": "python3 -c \"import urllib.request as u; print(u.urlopen('https://{host}/trust').read())\"",
    "python as root": "sudo python3 -c \"import urllib.request as u; print(u.urlopen('https://{host}/trust').read())\"",
    "node": "node -e \"fetch('https://{host}/trust').then(r=>r.text()).then(console.log)\"",
    "deno": "deno eval \"console.log(await (await fetch('https://{host}/trust')).text())\"",
    "git": "git ls-remote https://{host}/trust 2>&1 | sed 's/.*info.refs not valid.*/hello from/'",
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("host", ["api.test", "other.test"])
def test_clients_inside_trust_the_gate_and_the_world(box, client, host):
    """api.test is opened with the sandbox's CA, other.test shows a certificate of --extra-ca."""
    assert "hello from" in box.sh(CLIENTS[client].format(host=host), timeout=60)


def test_certificate_shown_inside(box):
    out = box.sh("echo | openssl s_client -connect api.test:443 -servername api.test -showcerts 2>/dev/null | openssl x509 -noout -issuer -ext subjectAltName")
    assert re.search(r"O ?= ?Warren", out) and "DNS:api.test" in out
    out = box.sh("echo | openssl s_client -connect other.test:443 -servername other.test 2>/dev/null | openssl x509 -noout -issuer")
    assert "Warren test CA" in out


def test_bad_certificate_of_a_host_is_not_accepted(box, gated, world):
    result = box.sh('curl -sS -H "X-Key: $API_KEY" https://badcert.test/', check=False)
    assert result.code == 35
    assert event(gated, box, "flow", host="badcert.test")["reason"] == "upstream-tls"
    assert not world.requests(server="badcert.test:443")


# --- back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", list(forms(SECRET)))
@pytest.mark.parametrize("coding", ["", "gzip", "br", "zstd", "chunked", "chunked-7", "close", "header"])
def test_scrubbed_in_every_form(box, form, coding):
    coding, _, step = coding.partition("-")
    out = box.sh(f'curl -sS -i -H "X-Key: $API_KEY" "https://api.test/form?f={form}&e={coding}&n={step or 1}"')
    for leaked in forms(SECRET).values():
        assert leaked not in out and leaked not in gzip_free(out)
    # What of a value's base64 depends on its neighbours may stay: less than 4 characters at each end.
    core = forms(SECRET)[form][4:-4]
    assert core not in out
    assert "***" in out or coding == "header"


def gzip_free(text):
    return text.replace("\n", "")


def test_echo_is_scrubbed(box, gated):
    out = box.sh('curl -sS -i -H "Authorization: Bearer $API_KEY" -d "hello" https://api.test/echo')
    assert SECRET not in out and json.dumps(SECRET)[1:-1] not in out and "***" in out
    assert "API_KEY" in event(gated, box, "scrubbed", host="api.test")["secrets"]


def test_redirects_are_scrubbed(box):
    out = box.sh('curl -sS -i -H "Authorization: Bearer $API_KEY" "https://api.test/redirect?to=https://attacker.example/"')
    assert " 302 " in out and SECRET not in out and "***" in out


def test_ranges_are_not_passed_on(box, world):
    box.sh('curl -sS -r 0-10 -H "X-Key: $API_KEY" https://api.test/range')
    assert world.header(world.requests(path="/range")[-1], "range") == []


def test_an_encoding_that_cannot_be_read_is_refused(box):
    out = box.sh('curl -sS -w "%{http_code}" -H "X-Key: $API_KEY" "https://api.test/form?f=raw&e=unknown"')
    assert out.endswith("502") and SECRET not in out and "***" not in out


def test_events_stream_through(box):
    out = box.sh('curl -sS -N -H "X-Key: $API_KEY" https://api.test/slow')
    assert out == "data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_bodies_pass_whole(box):
    assert box.sh("curl -sS https://api.test/big?n=20000000 | wc -c") == "20000000\n"
    assert box.sh("head -c 20000000 /dev/urandom | curl -sS -T - https://api.test/upload") == "20000000\n"
    assert box.sh("head -c 3000000 /dev/urandom > /tmp/f; curl -sS -T /tmp/f https://api.test/upload") == "3000000\n"


@pytest.mark.parametrize("status", [204, 304, 404, 500])
def test_status_and_keep_alive(box, status):
    out = box.sh(f"curl -sS -o /dev/null -w '%{{http_code}} ' https://api.test/status?c={status} -o /dev/null https://api.test/again")
    assert out.split() == [str(status), "200"]


# --- HTTP/2 --------------------------------------------------------------------------------------


def test_http2(box, world):
    out = box.sh('curl -sS --http2 -i -H "Authorization: Bearer $API_KEY" https://h2.test/one')
    assert out.startswith("HTTP/2 200") and SECRET not in out and "***" in out
    seen = world.requests(server="h2.test:443", path="/one")[-1]
    assert world.header(seen, "authorization") == ["Bearer " + SECRET]


def test_http2_many_streams(box):
    out = box.sh("curl -sS --http2 -Z --parallel-max 20 -o /dev/null -w '%{http_code}\\n' $(for i in $(seq 50); do echo https://h2.test/$i -o /dev/null; done)")
    assert out.split() == ["200"] * 50


def test_http2_authority_is_checked(box):
    out = box.sh('curl -sS --http2 -w "%{http_code}" -H "Host: other.test" https://h2.test/x')
    assert "host-mismatch" in out and out.endswith("403")


# --- WebSocket -----------------------------------------------------------------------------------

WS = """
const ws = new WebSocket('wss://api.test:8443/ws', {headers: {'x-key': Deno.env.get('API_KEY')}});
ws.onopen = () => { ws.send('key?'); };
const got = [];
ws.onmessage = e => { got.push(typeof e.data === 'string' ? e.data : 'binary'); if (got.length == 3) { ws.close(); } };
ws.onclose = () => console.log(JSON.stringify(got));
ws.onerror = e => console.log('error', e.message);
"""


def test_websocket(box, world):
    out = box.run("deno", ["eval", WS], timeout=60)
    assert out.code == 0, out
    got = json.loads(out.out)
    assert len(got) == 3 and SECRET not in out.out.decode() and "*" * 10 in got[0], got
    assert world.ws_keys[-1] == SECRET


# --- where a value may never be ---------------------------------------------------------------------


@pytest.mark.hang(180)
def test_value_is_nowhere(fresh_server, world, tmp_path):
    """Not in the sandbox's memory, disk or environment, not in records, logs and the state folder, not in the daemon."""
    value = "sk-find-me-" + os.urandom(12).hex()
    server = fresh_server("--pool", "0", "--log-level", "debug", *world.flags, wrapper=world.wrapper)
    with make(server, ["api.test"], secrets={"K": {"hosts": ["api.test"], "value": value}}) as rpc:
        assert "***" in rpc.sh('curl -sS -H "Authorization: Bearer $K" https://api.test/echo')
        rpc.sh('curl -sS -u "u:$K" https://api.test/echo > /tmp/answer; sleep 300 > /dev/null 2>&1 &')
        assert value == world.header(world.seen[-2], "authorization")[0].removeprefix("Bearer ")
        needles = [value.encode(), base64.b64encode(value.encode())[:-4]]
        # In two halves: what is searched for must not come in by the search itself.
        found = rpc.root(f"a={value[:12]}; b={value[12:]}; grep -rlF -e \"$a$b\" / --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev 2>/dev/null; true")
        assert found == ""
        time.sleep(0.5)
        everything = since(server.role("warrend")) - {os.getpid()}
        allowed = set(server.gates())
        holders = {}
        for pid in everything - allowed:
            if holds(pid, needles):
                holders[pid] = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert not holders
        assert all(holds(pid, needles[:1]) for pid in allowed), "the search itself must find it in the gate"
        server.delete(rpc.sandbox_id)
    for path in [*server.state_dir.rglob("*"), server.log_path]:
        if path.is_file():
            data = path.read_bytes()
            assert not any(n in data for n in needles), path


def started(pid):
    """When a process started, in ticks since boot; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def since(first):
    """Processes of this host that started with one of them or later, whoever's they are."""
    return {p for p in map(int, filter(str.isdigit, os.listdir("/proc"))) if started(p) >= started(first)}


def holds(pid, needles):
    """Whether any of the needles lies in a process's memory."""
    try:
        return bool(find(pid, needles))
    except (OSError, ValueError):  # ended meanwhile, or a task of the kernel
        return False


def test_killed_gate_leaves_no_value(fresh_server, world):
    server = fresh_server("--pool", "0", *world.flags, wrapper=world.wrapper)
    with make(server, ["api.test"], secrets=SECRETS) as rpc:
        (pid,) = server.gates()
        subprocess.run(["kill", "-ABRT", str(pid)], check=True)
        event(server, rpc, "gate-ended")
        pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
        if not pattern.startswith("|"):
            assert not glob.glob("/core*") and not list(server.state_dir.rglob("core*"))
        server.delete(rpc.sandbox_id)


# --- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("secrets,says", [
    ({"K": {"hosts": ["api.test"], "value": ""}}, "K"),
    ({"K": {"hosts": ["api.test"], "value": None}}, "K"),
    ({"K": {"hosts": ["api.test"]}}, "K"),
    ({"K": {"hosts": [], "value": "v"}}, "host"),
    ({"K": {"hosts": ["https://api.test"], "value": "v"}}, "https"),
    ({"K": {"hosts": ["api.test"], "value": "a\r\nX-Evil: 1"}}, "K"),
    ({"A=B": {"hosts": ["api.test"], "value": "v"}}, "name"),
    ({"": {"hosts": ["api.test"], "value": "v"}}, "name"),
    ({f"K{i}": {"hosts": ["api.test"], "value": "v"} for i in range(65)}, "64"),
])
def test_bad_secrets_are_refused(gated, secrets, says):
    import raw
    with pytest.raises(raw.Refused) as info:
        gated.create({"allow_net": ["api.test"], "secrets": secrets})
    message = info.value.json["message"]
    assert info.value.status == 400 and "secrets" in message and says in message, message
