"""sandbox.fetch towards the outside: it obeys the rules, and handles secrets, like any program inside."""

import re
from pathlib import Path

import pytest
from deno_sandbox import DenoDeploy

import clients
import server as server_module
from conftest import running
from test_egress import event, make
from test_fetch import failure, get
from test_js_client import Runner
from world import Handler, World

JS = Path(__file__).parent / "js"
CASES = re.findall(r"^    async (\w+)\(\) \{$", (JS / "fetch_gate_cases.mjs").read_text(), re.MULTILINE)
assert len(CASES) == 4
SECRET = "sk-fetch/and+scrub=0123456789"


class Origin(Handler):
    def do_length(self, query, body, seen):
        """How long the key is: a way to tell that the value has arrived without saying it."""
        self._answer(f"{len(self.headers.get('x-key', ''))}\n")

    def do_keep(self, query, body, seen):
        self.server.world.kept = self.headers.get("x-key", "")
        self._answer("kept\n")

    def do_tell(self, query, body, seen):
        self._answer(f"it was {self.server.world.kept}\n", headers=[("X-Kept", self.server.world.kept)])

    def do_to(self, query, body, seen):
        self._answer("", 302, [("Location", query["to"])])


@pytest.fixture(scope="module")
def world():
    with World() as one:
        one.http("api.test", handler=Origin)
        one.http("api.test", 443, names=["api.test"], handler=Origin)
        one.http("api.test", 8080, handler=Origin)
        one.http("other.test")
        one.http("other.test", 443, names=["other.test"])
        yield one


@pytest.fixture(scope="module")
def gated(world):
    with running(flags=["--log-level", "debug", *world.flags], wrapper=world.wrapper) as one:
        one.shared = True
        yield one


@pytest.fixture(scope="module")
def box(gated):
    secrets = {"API_KEY": {"hosts": ["api.test"], "value": SECRET}}
    with make(gated, ["api.test", "other.test", "closed.test", "metadata.test"], secrets=secrets) as rpc:
        yield rpc
    gated.discard(rpc.sandbox_id)


@pytest.fixture
def rpc(gated, box):
    with gated.attach(box.sandbox_id) as one:
        yield one


@pytest.fixture
def key(rpc):
    value = rpc.call("envGet", {"key": "API_KEY"})
    assert value.startswith("DENO_SECRET_PLACEHOLDER_")
    return value


# --- rules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://api.test/a?b", "https://api.test/a?b", "https://other.test/a?b"])
def test_allowed(rpc, url):
    response, body = get(rpc, url)
    assert response["status"] == 200 and body.startswith(b"hello from ") and body.endswith(b" /a?b\n")


def test_denied_over_http(rpc, gated):
    """Nobody may take the refusal for an answer of the host."""
    error = failure(rpc, "http://denied.test/")
    assert error.cls == "TypeError" and "http://denied.test/" in error.error["message"]
    assert "EGRESS_DENIED" in error.error["message"] and "no rule of this sandbox allows denied.test" in error.error["message"]
    assert event(gated, rpc, "denied", host="denied.test", port=80)


def test_denied_over_https(rpc, gated):
    """TLS has an alert for it, and no more words."""
    error = failure(rpc, "https://denied.test/")
    assert error.cls == "TypeError" and "https://denied.test/" in error.error["message"]
    assert "access denied" in error.error["message"]
    assert event(gated, rpc, "denied", host="denied.test", port=443)


def test_host_that_does_not_answer(rpc):
    response, body = get(rpc, "http://closed.test/")
    assert response["status"] == 502 and b'"refused"' in body
    assert failure(rpc, "https://closed.test/").cls == "TypeError"


def test_names_that_lead_inside(rpc):
    error = failure(rpc, "http://metadata.test/latest/meta-data/")
    assert error.cls == "TypeError" and "refused-range" in error.error["message"]


def test_no_network(gated):
    with gated.create({"timeout": "5m"}) as rpc:
        assert failure(rpc, "http://api.test/").cls == "TypeError"
        assert failure(rpc, "https://api.test/").cls == "TypeError"
    gated.discard(rpc.sandbox_id)


# --- secrets -------------------------------------------------------------------------------------


def test_secret_is_put_in_and_taken_out(rpc, key, world):
    response, body = get(rpc, "https://api.test/echo", headers=[["authorization", "Bearer " + key], ["x-key", key]])
    seen = world.requests(path="/echo")[-1]
    assert world.header(seen, "authorization") == ["Bearer " + SECRET] and world.header(seen, "x-key") == [SECRET]
    assert SECRET not in str(response) and SECRET.encode() not in body
    assert dict(response["headers"])["x-echo"] == "Bearer " + "*" * len(SECRET)


def test_secret_with_a_body(rpc, key, world):
    stream = rpc.send_all(b"some data")
    response, body = get(rpc, "https://api.test/echo?post", method="POST", bodyStreamId=stream, headers=[["authorization", "Bearer " + key]])
    seen = world.requests(path="/echo?post")[-1]
    assert seen["body"] == b"some data" and world.header(seen, "authorization") == ["Bearer " + SECRET]


@pytest.mark.parametrize("url", ["http://api.test/stray", "https://other.test/stray", "http://other.test/stray"])
def test_secret_goes_nowhere_else(rpc, key, world, url):
    since = len(world.seen)
    get(rpc, url, headers=[["x-key", key]])
    (seen,) = world.seen[since:]
    assert world.header(seen, "x-key") == [key]


@pytest.mark.parametrize("url", ["https://api.test/tell", "http://api.test/tell"])
def test_secret_that_is_told_later(rpc, key, world, url):
    """The host knows it by now, and may say it in any answer: also over plain HTTP, where nothing was put in."""
    get(rpc, "https://api.test/keep", headers=[["x-key", key]])
    assert world.kept == SECRET
    response, body = get(rpc, url)
    assert body == b"it was " + b"*" * len(SECRET) + b"\n" and dict(response["headers"])["x-kept"] == "*" * len(SECRET)


@pytest.mark.parametrize("port", [80, 443, 8080])
def test_secret_for_one_port_is_told_on_none(gated, world, port):
    secrets = {"K": {"hosts": ["api.test:443"], "value": SECRET}}
    with make(gated, ["api.test"], secrets=secrets) as rpc:
        get(rpc, "https://api.test/keep", headers=[["x-key", rpc.call("envGet", {"key": "K"})]])
        assert world.kept == SECRET
        _, body = get(rpc, f"{'https' if port == 443 else 'http'}://api.test:{port}/tell")
        assert body == b"it was " + b"*" * len(SECRET) + b"\n"
    gated.discard(rpc.sandbox_id)


# --- redirects across hosts -------------------------------------------------------------------------


def test_redirect_to_another_host(rpc, key, world):
    """Authorization does not follow to another host; other headers do, with the placeholder."""
    response, body = get(rpc, "https://api.test/to?to=https://other.test/landed", headers=[["authorization", "Bearer " + key], ["x-key", key]])
    assert (response["status"], body) == (200, b"hello from other.test:443 /landed\n")
    first, second = world.seen[-2:]
    assert world.header(first, "authorization") == ["Bearer " + SECRET]
    assert world.header(second, "authorization") == [] and world.header(second, "x-key") == [key]


def test_redirect_and_back(rpc, key, world):
    """Each request is looked at by itself: on the way back the secret is put in again."""
    get(rpc, "https://api.test/to?to=https%3A//api.test/again", headers=[["x-key", key]])
    assert [world.header(s, "x-key") for s in world.seen[-2:]] == [[SECRET], [SECRET]]


def test_redirect_to_plain_http(rpc, key, world):
    get(rpc, "https://api.test/to?to=http://api.test/plain", headers=[["x-key", key]])
    first, second = world.seen[-2:]
    assert second["server"] == "api.test:80"
    assert world.header(first, "x-key") == [SECRET] and world.header(second, "x-key") == [key]


def test_redirect_into_what_is_denied(rpc, key):
    for scheme, text in (("http", "EGRESS_DENIED"), ("https", "access denied")):
        error = failure(rpc, f"https://api.test/to?to={scheme}://denied.test/", headers=[["x-key", key]])
        assert error.cls == "TypeError" and text in error.error["message"]


def test_redirect_that_tells_the_secret(rpc, key, world):
    response, _ = get(rpc, "https://api.test/redirect?to=https://other.test/told", headers=[["authorization", "Bearer " + key]], redirect="manual")
    assert response["status"] == 302 and SECRET not in str(response)
    get(rpc, "https://api.test/redirect?to=https://other.test/told", headers=[["authorization", "Bearer " + key]])
    assert SECRET not in world.seen[-1]["path"] and "***" in world.seen[-1]["path"]


# --- official clients --------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["deno", "node"])
def runner(request, gated, box):
    command = clients.runtime_command(request.param)
    if command is None:
        pytest.skip(f"{request.param} is not installed")
    one = Runner(command, server_module.clean_environment(
        **gated.env, NO_COLOR="1", DENO_DIR=str(clients.javascript().parent / "deno-dir"),
        SANDBOX=box.sandbox_id, SECRET=SECRET), JS / "fetch_gate_cases.mjs")
    yield one
    one.stop()


@pytest.mark.parametrize("name", CASES)
def test_js(runner, name):
    output = runner.run(name)
    for complaint in ("Failed to parse", "Invalid stream"):
        assert complaint not in output, f"the client complains about the server:\n{output}"


def test_python(gated, box, world, monkeypatch):
    for name, value in gated.env.items():
        monkeypatch.setenv(name, value)
    with DenoDeploy().sandbox.connect(box.sandbox_id) as sandbox:
        assert sandbox.fetch("http://api.test/py").status_code == 200
        assert sandbox.fetch("https://other.test/py").status_code == 200
        with pytest.raises(Exception, match="no rule of this sandbox allows denied.test"):
            sandbox.fetch("http://denied.test/")
        with pytest.raises(Exception, match="access denied"):
            sandbox.fetch("https://denied.test/")
        key = sandbox.env.get("API_KEY")
        response = sandbox.fetch("https://api.test/echo", headers={"authorization": f"Bearer {key}"})
        assert response.status_code == 200 and SECRET not in str(response.headers)
        assert ["x-echo", "Bearer " + "*" * len(SECRET)] in [list(pair) for pair in response.headers]
        assert world.header(world.seen[-1], "authorization") == ["Bearer " + SECRET]
        response = sandbox.fetch("https://api.test/to?to=https://other.test/py-landed", headers={"x-key": key})
        assert response.status_code == 200 and world.header(world.seen[-1], "x-key") == [key]
