"""A host that reaches the outside through a proxy: what the proxy is asked, and what it never learns."""

import base64
import http.client
import json
import re
import select
import socket
import subprocess
import threading

import pytest

from conftest import running
from server import BIN, clean_environment
from test_egress import curl, event, events, make
from world import World

SECRET = "sk-through/the+proxy=\"0123456789"
PASSWORD = "p@ss:w%rd/1"
LOGIN = "user:p%40ss%3Aw%25rd%2F1"


class Proxy:
    """An HTTP proxy: records what it is asked, and every byte that came from its clients.

    It also looks up the names of far.test, as those of api.test, which nobody else knows."""

    def __init__(self, world, password=None, address="127.0.0.1", port=0):
        self.world, self.password = world, password
        self.asked = []  # (method, target, headers)
        self.sent = bytearray()
        self.behave = None  # called with the socket instead of answering
        self.listener = socket.create_server((address, port))
        self.address, self.port = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://{self.address}:{self.port}"

    def clear(self):
        self.asked.clear()
        self.sent.clear()
        self.behave = None

    def targets(self):
        return [f"{method} {target}" for method, target, _ in self.asked]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            with sock:
                sock.settimeout(20)
                while self._serve_one(sock):
                    pass
        except OSError:
            pass

    def _head(self, sock):
        data = b""
        while b"\r\n\r\n" not in data:
            got = sock.recv(65536)
            if not got:
                raise ConnectionError
            data += got
            self.sent += got
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        return lines[0].split(" "), [tuple(line.split(": ", 1)) for line in lines[1:]], rest

    def _serve_one(self, sock):
        (method, target, _), headers, rest = self._head(sock)
        self.asked.append((method, target, headers))
        by_name = {k.lower(): v for k, v in headers}
        if self.behave:
            return self.behave(sock)
        if self.password is not None:
            want = "Basic " + base64.b64encode(f"user:{self.password}".encode()).decode()
            if by_name.get("proxy-authorization") != want:
                return sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"inner\"\r\n"
                                    b"Content-Length: 6\r\nConnection: close\r\n\r\ninner\n")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            with self._dial(host, port) as up:
                sock.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 inner\r\n\r\n")
                up.sendall(rest)
                self._pipe(sock, up)
            return None
        assert target.startswith("http://"), target
        authority, _, path = target.removeprefix("http://").partition("/")
        host, _, port = authority.partition(":")
        kept = [f"{k}: {v}" for k, v in headers if not k.lower().startswith("proxy-")]
        with self._dial(host, port or "80") as up:
            up.sendall("\r\n".join([f"{method} /{path} HTTP/1.1", *kept, "", ""]).encode("latin-1") + rest)
            if {"content-length", "transfer-encoding"} & set(by_name):
                return self._pipe(sock, up)
            answer = http.client.HTTPResponse(up, method=method)
            answer.begin()
            body = answer.read()
            sock.sendall(f"HTTP/1.1 {answer.status} {answer.reason}\r\nVia: 1.1 inner\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return True

    def _dial(self, host, port):
        names = self.world.names
        address = names["api.test"] if host.endswith("far.test") else names[host]
        return socket.create_connection((address, int(port)), timeout=10)

    def _pipe(self, a, b):
        ends = {a: b, b: a}
        while True:
            for one in select.select(list(ends), [], [], 20)[0]:
                data = one.recv(65536)
                if one is a:
                    self.sent += data
                if not data:
                    return
                ends[one].sendall(data)


@pytest.fixture(scope="module")
def world():
    with World() as one:
        one.http("api.test")
        one.http("api.test", 8080)
        one.http("api.test", 443, names=["api.test", "*.api.test", "far.test", "*.far.test"])
        one.http("other.test")
        one.http("other.test", 443, names=["other.test"])
        one.h2("h2.test", 443)
        one.literals()
        one.http("literal4")
        one.tcp("bare.test", 7000, lambda s: s.sendall(b"first\n" + s.recv(100)))
        yield one


@pytest.fixture(scope="module")
def the_proxy(world):
    """With an address that sandboxes may not reach themselves."""
    one = Proxy(world, PASSWORD)
    yield one
    one.close()


@pytest.fixture
def proxy(the_proxy):
    the_proxy.clear()
    return the_proxy


@pytest.fixture(scope="module")
def gated(world, the_proxy):
    url = f"http://{LOGIN}@127.0.0.1:{the_proxy.port}"
    flags = ["--log-level", "debug", *world.flags, "--egress-http-proxy", url, "--egress-https-proxy", url,
             "--egress-no-proxy", "other.test,.exempt.test"]
    with running(flags=flags, wrapper=world.wrapper) as one:
        one.shared = True
        yield one


SECRETS = {"K": {"hosts": ["api.test", "far.test", "h2.test"], "value": SECRET}}


@pytest.fixture(scope="module")
def box(gated, world):
    rules = ["api.test", "*.api.test", "other.test", "far.test", "*.far.test", "h2.test", "bare.test", world.literal4]
    with make(gated, rules, secrets=SECRETS) as rpc:
        yield rpc
    gated.discard(rpc.sandbox_id)


@pytest.fixture
def through(world, fresh_server):
    """Makes a server with a proxy and a sandbox in it."""
    def make_one(*flags, env=None, rules=("api.test", "other.test"), **config):
        server = fresh_server("--log-level", "debug", *world.flags, *flags, wrapper=world.wrapper, env=env)
        rpc = make(server, list(rules), **config)
        return server, rpc

    return make_one


def both(url):
    return "--egress-http-proxy", url, "--egress-https-proxy", url


# --- what it is asked --------------------------------------------------------------------------


def test_http_is_asked_for_in_absolute_form(box, proxy, world):
    assert curl(box, "http://api.test/a?b=c").out == b"hello from api.test:80 /a?b=c\n"
    (method, target, headers), = proxy.asked
    assert (method, target) == ("GET", "http://api.test/a?b=c")
    assert [v for k, v in headers if k.lower() == "host"] == ["api.test"]
    seen = world.requests(path="/a?b=c")[-1]
    assert world.header(seen, "host") == ["api.test"] and not world.header(seen, "proxy-authorization")


def test_http_on_another_port(box, proxy):
    assert b"hello from api.test:8080" in curl(box, "http://api.test:8080/x").out
    (_, target, headers), = proxy.asked
    assert target == "http://api.test:8080/x" and ("Host", "api.test:8080") in headers


def test_many_requests_of_one_connection(box, proxy):
    out = box.sh("curl -sS http://api.test/first http://api.test/second http://api.test/third -w '%{num_connects}\\n'")
    assert [line for line in out.splitlines() if line.isdigit()] == ["1", "0", "0"]
    assert proxy.targets() == ["GET http://api.test/first", "GET http://api.test/second", "GET http://api.test/third"]
    assert all("Proxy-Authorization" in dict(headers) for _, _, headers in proxy.asked)


def test_bodies_through_the_proxy(box, proxy):
    assert box.sh("head -c 300000 /dev/zero | curl -sS --data-binary @- http://api.test/upload") == "300000\n"
    assert box.sh("head -c 300000 /dev/zero | curl -sS -T - http://api.test/upload") == "300000\n"
    assert proxy.targets() == ["POST http://api.test/upload", "PUT http://api.test/upload"]


def test_https_is_a_tunnel(box, proxy):
    result = curl(box, "-v", "https://www.api.test/")
    assert b"hello from api.test:443" in result.out and b"Warren test CA" in result.err
    (method, target, headers), = proxy.asked
    assert (method, target) == ("CONNECT", "www.api.test:443") and ("Host", "www.api.test:443") in headers


@pytest.mark.parametrize("url", ["http://far.test/", "https://far.test/", "https://any.far.test/"])
def test_names_that_only_the_proxy_knows(box, proxy, url):
    assert b"hello from api.test" in curl(box, url).out
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("url", ["http://other.test/", "https://other.test/", "http://literal4/"])
def test_directly(box, proxy, world, url):
    """Names that are exempt, and literal addresses."""
    assert b"hello" in curl(box, url.replace("literal4", world.literal4)).out
    assert proxy.asked == []


def test_other_protocols_are_dialled_directly(box, proxy):
    assert box.sh("exec 3<>/dev/tcp/bare.test/7000; printf 'mine\\n' >&3; cat <&3") == "first\nmine\n"
    assert proxy.asked == []


@pytest.mark.parametrize("url,asked", [("https://far.test/late", "CONNECT far.test:443"), ("http://far.test/late", "GET http://far.test/late")])
def test_programs_that_take_their_time(box, proxy, url, asked):
    """A connection to a port of the web stays the proxy's when nothing is said for a while."""
    out = box.sh("python3 - <<'E'\nimport http.client, ssl, socket, time, urllib.parse as u\n"
                 f"url = u.urlsplit('{url}')\n"
                 "raw = socket.create_connection((url.hostname, 443 if url.scheme == 'https' else 80))\ntime.sleep(0.8)\n"
                 "if url.scheme == 'https': raw = ssl.create_default_context().wrap_socket(raw, server_hostname=url.hostname)\n"
                 "one = http.client.HTTPConnection(url.hostname)\none.sock = raw\none.request('GET', url.path)\n"
                 "print(one.getresponse().read().decode())\nE")
    assert "hello from api.test" in out and proxy.targets() == [asked]


def test_rules_come_before_the_proxy(box, proxy, gated):
    assert b"not-allowed" in curl(box, "http://denied.test/").out
    assert curl(box, "https://denied.test/", check=False).code == 35
    assert proxy.asked == [] and event(gated, box, "denied", host="denied.test", port=443)


def test_flows_are_recorded_by_name(box, proxy, gated):
    curl(box, "https://own.far.test/")
    assert event(gated, box, "flow", host="own.far.test", port=443, protocol="tls")["bytesDown"] > 0


# --- secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["https://api.test/echo", "https://far.test/echo", "https://h2.test/echo"])
def test_secrets_go_through_the_tunnel_only(box, proxy, world, url):
    out = box.sh(f'curl -sS -i -H "Authorization: Bearer $K" {url}')
    assert world.header(world.requests(path="/echo")[-1], "authorization") == ["Bearer " + SECRET]
    assert SECRET not in out and "***" in out
    assert proxy.asked[0][0] == "CONNECT"
    assert SECRET.encode() not in proxy.sent and b"DENO_SECRET" not in proxy.sent


def test_plain_http_shows_the_proxy_a_placeholder(box, proxy):
    box.sh('curl -sS -H "Authorization: Bearer $K" http://api.test/plain')
    assert SECRET.encode() not in proxy.sent and b"DENO_SECRET_PLACEHOLDER_" in proxy.sent


def test_certificates_are_checked_through_the_tunnel(box, proxy, gated, world):
    """A proxy that leads elsewhere gets no secret."""
    since = len(world.seen)
    moved = world.names["api.test"]
    world.names["api.test"] = world.names["other.test"]
    try:
        result = box.sh('curl -sS -H "X-K: $K" https://api.test/moved', check=False)
    finally:
        world.names["api.test"] = moved
    assert result.code == 35 and event(gated, box, "flow", host="api.test", reason="upstream-tls")
    assert len(world.seen) == since


# --- the proxy's password -------------------------------------------------------------------------


def test_authorization_is_for_the_proxy_only(box, proxy, world):
    for url in ["http://api.test/auth", "https://api.test/auth", "https://www.api.test/auth", "http://other.test/auth", "https://other.test/auth"]:
        assert b"hello" in curl(box, url).out
    want = "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    assert len(proxy.asked) == 3
    for _, _, headers in proxy.asked:
        assert [v for k, v in headers if k == "Proxy-Authorization"] == [want]
    seen = world.requests(path="/auth")
    assert len(seen) == 5
    assert all("proxy" not in k for one in seen for k, _ in one["headers"])


def test_programs_do_not_speak_for_the_host(box, proxy):
    curl(box, "-H", "Proxy-Authorization: Basic bWluZTptaW5l", "-H", "Proxy-Connection: close", "http://api.test/")
    (_, _, headers), = proxy.asked
    assert len([v for k, v in headers if k.lower() == "proxy-authorization"]) == 1
    assert "bWluZTptaW5l" not in str(headers) and "proxy-connection" not in str(headers).lower()


def test_nothing_makes_the_proxy_send_it_back(box, proxy):
    """A proxy that is asked to TRACE answers with the request that it got."""
    out = curl(box, "-X", "TRACE", "-H", "Max-Forwards: 0", "-w", "%{http_code}", "http://api.test/").out
    assert out.endswith(b"403") and b"TRACE" in out and proxy.asked == []


def test_password_is_nowhere(box, proxy, gated):
    curl(box, "http://api.test/")
    needles = [PASSWORD, LOGIN, base64.b64encode(f"user:{PASSWORD}".encode()).decode()]
    assert "Proxy" not in box.sh("cat /proc/*/environ /run/warren/* 2>/dev/null | tr '\\0' '\\n' | grep -i proxy || true")
    text = gated.log_path.read_text() + json.dumps(events(gated, box)) + box.sh("env; cat /run/warren/*.jsonl 2>/dev/null || true")
    for path in gated.state_dir.rglob("*"):
        if path.is_file():
            text += path.read_bytes().decode("latin-1")
    assert not [n for n in needles if n in text]


@pytest.mark.parametrize("how", ["flag", "WARREN_EGRESS_HTTPS_PROXY", "https_proxy"])
def test_print_config_hides_the_password(how):
    url = f"http://{LOGIN}@proxy.test:3128"
    flags = ["--egress-https-proxy", url] if how == "flag" else []
    done = subprocess.run([BIN / "warren", "serve", *flags, "--print-config"], capture_output=True, text=True,
                          env=clean_environment(**({} if flags else {how: url})), timeout=30)
    assert done.returncode == 0 and "proxy.test:3128" in done.stdout and "user" in done.stdout
    assert "%40ss" not in done.stdout + done.stderr


# --- proxies that do not help ------------------------------------------------------------------------


def check_refused(server, rpc, name="api.test"):
    out = curl(rpc, "-w", "%{http_code}", f"http://{name}/").out
    assert out.endswith(b"502") and json.loads(out[:-3])["code"] == "proxy", out
    told = json.loads(out[:-3])
    assert told["error"] == "EGRESS_FAILED" and told["host"] == name and "proxy" in told["message"]
    result = curl(rpc, f"https://{name}/", check=False)
    assert result.code == 35 and b"internal error" in result.err, result
    assert event(server, rpc, "flow", host=name, port=443)["reason"] == "proxy"
    assert event(server, rpc, "flow", host=name, port=80)["reason"] == "proxy"


def test_dead_proxy(through):
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    server, rpc = through(*both(f"http://127.0.0.1:{port}"))
    with rpc:
        check_refused(server, rpc)


def test_proxy_whose_name_does_not_exist(through):
    server, rpc = through(*both("http://nowhere.api.test:3128"))
    with rpc:
        check_refused(server, rpc)


def test_proxy_by_name(through, world):
    proxy = Proxy(world, address=world.names["proxied.test"], port=3128)
    server, rpc = through(*both("http://proxied.test:3128"))
    with rpc:
        assert b"hello" in curl(rpc, "http://api.test/").out
        assert b"hello" in curl(rpc, "https://api.test/").out
    assert proxy.targets() == ["GET http://api.test/", "CONNECT api.test:443"]
    proxy.close()


def test_wrong_password(through, world):
    proxy = Proxy(world, "right")
    server, rpc = through(*both(f"http://user:wrong@127.0.0.1:{proxy.port}"))
    with rpc:
        check_refused(server, rpc)
        out = curl(rpc, "-i", "http://api.test/").out
        assert b"inner" not in out and b"roxy-Auth" not in out
    proxy.close()


ANSWERS = {
    "refuses": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n",
    "is broken": b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
    "says nothing": b"",
    "speaks another protocol": b"SSH-2.0-proxy\r\n\r\n",
    "breaks off": b"HTTP/1.1 200 Connec",
    "has no end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100000 + b"\r\n\r\n",
    "redirects": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n",
}


@pytest.mark.parametrize("how", ANSWERS)
def test_tunnels_that_are_not_made(box, proxy, gated, how):
    proxy.behave = lambda sock: sock.sendall(ANSWERS[how])
    began = len(events(gated, box, type="flow"))
    for url in ["https://www.api.test/", "https://api.test/"]:
        result = box.sh(f'curl -sS --max-time 20 -H "X-K: $K" {url}', check=False)
        assert result.code == 35 and b"internal error" in result.err, result
    assert len(proxy.asked) == 2
    assert SECRET.encode() not in proxy.sent
    new = events(gated, box, type="flow")
    assert len(new) >= began
    assert event(gated, box, "flow", host="www.api.test", reason="proxy")
    proxy.behave = None
    assert b"hello" in curl(box, "https://www.api.test/").out


@pytest.mark.slow
def test_proxy_that_never_answers(box, proxy, gated):
    proxy.behave = lambda sock: (sock.settimeout(60), sock.recv(1))
    result = box.sh("curl -sS --max-time 40 https://far.test/never", check=False, timeout=50)
    assert result.code == 35 and b"internal error" in result.err, result
    assert event(gated, box, "flow", host="far.test", reason="proxy")


def test_tunnel_whose_host_speaks_at_once(box, proxy):
    """What comes in one piece with the proxy's consent belongs to the tunnel already."""
    proxy.behave = lambda sock: (sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n\x15\x03\x03\x00\x02\x02\x50"), sock.recv(10))
    result = curl(box, "https://www.api.test/", check=False)
    assert result.code == 35 and b"internal error" in result.err, result


# --- from the environment ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["http://127.0.0.1:{}", "127.0.0.1:{}", "http://127.0.0.1:{}/"])
def test_environment_of_the_server(through, world, form):
    proxy = Proxy(world)
    url = form.format(proxy.port)
    server, rpc = through(env={"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": "localhost,other.test"})
    with rpc:
        for address in ["http://api.test/1", "https://api.test/2", "http://other.test/3", "https://other.test/4"]:
            assert b"hello" in curl(rpc, address).out
        assert not re.search("(?i)_proxy", rpc.sh("env"))
    assert proxy.targets() == ["GET http://api.test/1", "CONNECT api.test:443"]
    proxy.close()


def test_options_count_before_the_environment(through, world):
    proxy, unused = Proxy(world), Proxy(world)
    server, rpc = through("--egress-http-proxy", proxy.url, "--egress-https-proxy", "",
                          env={"http_proxy": unused.url, "https_proxy": unused.url})
    with rpc:
        assert b"hello" in curl(rpc, "http://api.test/").out
        assert b"hello" in curl(rpc, "https://api.test/").out
    assert proxy.targets() == ["GET http://api.test/"] and unused.asked == []
    proxy.close()
    unused.close()


def test_everything_may_be_exempt(through, world):
    unused = Proxy(world)
    server, rpc = through(*both(unused.url), "--egress-no-proxy", "*")
    with rpc:
        assert b"hello" in curl(rpc, "https://api.test/").out
    assert unused.asked == []
    unused.close()


@pytest.mark.parametrize("url,says", [("socks5://127.0.0.1:1080", "http://"), ("http://127.0.0.1", "port"), (f"http://u:{PASSWORD}@h:1", "percent")])
def test_bad_proxies_are_refused_at_the_start(url, says, tmp_path):
    done = subprocess.run([BIN / "warren", "serve", "--state-dir", tmp_path, "--egress-https-proxy", url], capture_output=True, text=True,
                          env=clean_environment(), timeout=30)
    assert done.returncode != 0 and "egress-https-proxy" in done.stderr and says in done.stderr
    assert PASSWORD not in done.stderr + done.stdout
