"""fetch from inside the sandbox: by hand, and by both official clients. The server is inside too."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from deno_sandbox import DenoDeploy

import clients
import raw
import server as server_module
from test_js_client import Runner

JS = Path(__file__).parent / "js"
CASES = re.findall(r"^    async (\w+)\(\) \{$", (JS / "fetch_cases.mjs").read_text(), re.MULTILINE)
assert len(CASES) > 10


def sha(data):
    return hashlib.sha256(data).hexdigest()


def pattern(size):
    return bytes((i * 31 + (i >> 8)) & 255 for i in range(size))


@pytest.fixture(scope="module")
def ports(box):
    box.call("writeTextFile", {"path": "/tmp/origin.mjs", "content": (JS / "origin.mjs").read_text()})
    child = box.spawn("node", ["/tmp/origin.mjs"])
    wait = box.request("processWait", {"pid": child["pid"]})
    out = child["stdoutStreamId"]
    box.pump(lambda: out in box.streams and b"\n" in box.streams[out].data, what="the ports")
    yield [int(word) for word in box.streams[out].data.split()]
    box.call("processKill", {"pid": child["pid"]})
    box.value(wait)


@pytest.fixture
def origin(ports):
    return f"http://127.0.0.1:{ports[0]}"


@pytest.fixture
def answering(ports):
    """The URL of a server that answers with these bytes."""
    def url(data):
        return f"http://127.0.0.1:{ports[1]}/" + base64.urlsafe_b64encode(data).decode().rstrip("=")
    return url


def start(rpc, url, **params):
    return rpc.request("fetch", {"url": url, "method": "GET", "headers": [], "redirect": "follow", **params})


def read_body(rpc, response):
    stream_id = response["bodyStreamId"]
    rpc.pump(lambda: stream_id in rpc.streams and rpc.streams[stream_id].finished, what="the end of the body")
    return rpc.streams.pop(stream_id)


def get(rpc, url, **params):
    """(response, body)"""
    response = rpc.value(start(rpc, url, **params))
    if response["bodyStreamId"] is None:
        return response, None
    stream = read_body(rpc, response)
    assert stream.ended, stream.error
    return response, bytes(stream.data)


def failure(rpc, url, **params):
    with pytest.raises(raw.RpcFailure) as failed:
        rpc.value(start(rpc, url, **params))
    return failed.value


def no_curl(rpc):
    """Nothing of a fetch is left in the sandbox."""
    server_module.wait_until(lambda: not rpc.sh("pgrep -x curl || true"), what="the end of curl")


# --- answers -----------------------------------------------------------------------------------


def test_get(rpc, origin):
    response, body = get(rpc, origin + "/hello")
    assert (response["status"], response["statusText"], body) == (200, "OK", b"hello")
    headers = dict(response["headers"])
    assert headers["content-type"] == "text/plain"
    assert headers["content-length"] == "5"
    assert not {"connection", "keep-alive", "transfer-encoding"} & set(headers)


def test_optional_parameters(rpc, origin):
    for params in ({}, {"method": None, "headers": None, "redirect": None, "abortId": None,
                        "bodyStreamId": None, "pid": None}):
        response = rpc.call("fetch", {"url": origin + "/hello", **params})
        assert read_body(rpc, response).data == b"hello"


def test_answer_before_the_body_is_complete(rpc, origin):
    response = rpc.value(start(rpc, origin + "/drip"))
    out = response["bodyStreamId"]
    rpc.pump(lambda: out in rpc.streams and rpc.streams[out].data == b"first", what="the first bytes")
    rpc.cancel(out)
    rpc.streams[out].cancelled = True
    no_curl(rpc)


@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_000])
def test_binary_bodies(rpc, origin, size):
    response, body = get(rpc, f"{origin}/bytes?n={size}")
    assert response["status"] == 200
    assert len(body) == size and sha(body) == sha(pattern(size))


def test_repeated_headers(rpc, origin):
    response, _ = get(rpc, origin + "/cookies")
    assert [v for k, v in response["headers"] if k == "set-cookie"] == ["a=1; Path=/", "b=2"]
    headers = dict(response["headers"])
    assert (headers["x-latin"], headers["x-empty"]) == ("caf\u00e9", "")


@pytest.mark.parametrize("status", [204, 205, 304])
def test_status_without_body(rpc, origin, status):
    response, body = get(rpc, f"{origin}/status?s={status}")
    assert (response["status"], body) == (status, None)
    no_curl(rpc)


def test_head(rpc, origin):
    response, body = get(rpc, origin + "/bytes?n=100", method="HEAD")
    assert body is None
    assert dict(response["headers"])["content-length"] == "100"


@pytest.mark.parametrize("status", [400, 404, 500, 599])
def test_errors_of_the_server_are_answers(rpc, origin, status):
    response, body = get(rpc, f"{origin}/status?s={status}&text=So%20it%20is")
    assert (response["status"], response["statusText"], body) == (status, "So it is", b"")


def test_early_hints_are_passed_over(rpc, origin):
    response, body = get(rpc, origin + "/hints")
    assert (response["status"], body) == (200, b"after the hints")


# --- redirects ---------------------------------------------------------------------------------


def test_redirects(rpc, origin):
    response, body = get(rpc, origin + "/redirect?n=20")
    assert (response["status"], body) == (200, b"hello")
    response, body = get(rpc, origin + "/redirect?n=3", redirect="manual")
    assert (response["status"], body) == (302, b"look elsewhere")
    assert dict(response["headers"])["location"] == "/redirect?n=2"


@pytest.mark.parametrize("path", ["/loop", "/redirect?n=21"])
def test_too_many_redirects(rpc, origin, path):
    error = failure(rpc, origin + path)
    assert error.cls == "TypeError" and "redirect" in error.error["message"]


def test_redirect_out_of_http(rpc, origin):
    assert failure(rpc, origin + "/elsewhere?s=302&to=file:///etc/passwd").cls == "TypeError"


def test_post_becomes_get(rpc, origin):
    for status, method in ((301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")):
        body = rpc.send_all(b"data")
        response, answer = get(rpc, f"{origin}/elsewhere?s={status}&to=/echo", method="POST", bodyStreamId=body)
        seen = server_module.raw.json.loads(answer)
        assert (response["status"], seen["method"]) == (200, method), status
        assert seen["length"] == (4 if method == "POST" else 0)


# --- requests ----------------------------------------------------------------------------------


def echo(rpc, origin, **params):
    _, body = get(rpc, origin + "/echo", **params)
    seen = raw.json.loads(body)
    pairs = list(zip(seen["headers"][::2], seen["headers"][1::2]))
    return seen, [(k.lower(), v) for k, v in pairs]


def test_headers_are_sent(rpc, origin):
    headers = [["x-one", "1"], ["x-one", "2"], ["x-empty", ""], ["x-latin", "caf\u00e9"], ["User-Agent", "me"],
               ["accept", "text/html"], ["x-quote", "\"';$(id) @/etc/passwd"], ["connection", "x-one"],
               ["content-length", "7"], ["transfer-encoding", "chunked"], ["expect", "100-continue"]]
    _, seen = echo(rpc, origin, headers=headers)
    for name, value in headers[:7]:
        assert (name.lower(), value) in seen
    names = [k for k, _ in seen]
    assert not {"content-length", "transfer-encoding", "expect", "content-type", "accept-encoding"} & set(names)
    assert names.count("user-agent") == names.count("accept") == names.count("host") == 1


@pytest.mark.parametrize("headers", [[["a b", "x"]], [["", "x"]], [["@/etc/passwd", "x"]], [["x", "a\r\nb: c"]],
                                     [["x", "\u2603"]], [["x:y", "z"]]])
def test_bad_headers(rpc, origin, headers):
    error = failure(rpc, origin + "/echo", headers=headers)
    assert error.cls == "TypeError" and "nvalid" in error.error["message"]


@pytest.mark.parametrize("method", ["GET", "get", "DELETE", "OPTIONS", "PATCH", "POST", "PUT", "REPORT"])
def test_methods(rpc, origin, method):
    seen, _ = echo(rpc, origin, method=method)
    assert (seen["method"], seen["length"]) == (method.upper(), 0)


@pytest.mark.parametrize("method", ["CONNECT", "trace", "TRACK", "", "A B", "X/Y"])
def test_bad_methods(rpc, origin, method):
    error = failure(rpc, origin + "/echo", method=method)
    assert error.cls == "TypeError"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_body_that_is_complete(rpc, origin, method):
    body = rpc.send_all(b"some data")
    seen, headers = echo(rpc, origin, method=method, bodyStreamId=body, headers=[["content-type", "text/x"]])
    assert (seen["method"], seen["length"], seen["sha"]) == (method, 9, sha(b"some data"))
    assert ("content-length", "9") in headers and ("content-type", "text/x") in headers


def test_body_without_a_type_has_none(rpc, origin):
    _, headers = echo(rpc, origin, method="POST", bodyStreamId=rpc.send_all(b"x"))
    assert "content-type" not in dict(headers)


def test_large_body(rpc, origin):
    data = pattern(12_000_000)
    stream = rpc.open_stream()
    request = start(rpc, origin + "/echo", method="PUT", bodyStreamId=stream)
    for at in range(0, len(data), 60_000):
        rpc.enqueue(stream, data[at : at + 60_000])
    rpc.end_stream(stream)
    seen = raw.json.loads(read_body(rpc, rpc.value(request)).data)
    assert (seen["method"], seen["length"], seen["sha"]) == ("PUT", len(data), sha(data))


def test_streamed_body(rpc, origin):
    def seen():
        return get(rpc, origin + "/seen")[1]

    stream = rpc.open_stream()
    request = start(rpc, origin + "/live", method="POST", bodyStreamId=stream)
    rpc.enqueue(stream, b"one,")
    server_module.wait_until(lambda: seen() == b"one,", what="the first part at the server")
    rpc.enqueue(stream, b"two,")
    server_module.wait_until(lambda: seen() == b"one,two,", what="the second part at the server")
    rpc.end_stream(stream)
    assert read_body(rpc, rpc.value(request)).data == b"one,two,"


def test_body_that_fails(rpc, origin):
    error = {"constructorName": "RangeError", "message": "the source broke"}
    for begun in (False, True):
        stream = rpc.open_stream()
        request = start(rpc, origin + "/echo", method="POST", bodyStreamId=stream)
        if begun:
            rpc.enqueue(stream, b"x" * 100_000)
            server_module.wait_until(lambda: rpc.sh("pgrep -x curl || true"), what="curl")
        rpc.notify("$sandbox.stream.error", {"streamId": stream, "error": error})
        with pytest.raises(raw.RpcFailure, match="the source broke") as failed:
            rpc.value(request)
        assert failed.value.cls == "RangeError"
        no_curl(rpc)


def test_body_that_the_server_cannot_keep(fresh_server):
    with fresh_server("--spool-max", "2097152").create() as rpc:
        # Nobody reads from the connection that this listens for.
        child = rpc.spawn("python3", ["-uc", "import socket, time; s = socket.create_server(('127.0.0.1', 8765));"
                                             "print('ready'); time.sleep(1000)"])
        rpc.request("processWait", {"pid": child["pid"]})
        out = child["stdoutStreamId"]
        rpc.pump(lambda: out in rpc.streams and rpc.streams[out].data, what="the server inside")
        stream = rpc.open_stream()
        request = start(rpc, "http://127.0.0.1:8765/", method="POST", bodyStreamId=stream)
        for _ in range(400):
            rpc.enqueue(stream, b"x" * 60_000)
        with pytest.raises(raw.RpcFailure, match="spool-max") as failed:
            rpc.value(request)
        assert failed.value.cls == "RangeError"
        rpc.pump(lambda: stream in rpc.cancels, what="the cancel of the body")
        rpc.end_stream(stream)
        no_curl(rpc)


def test_body_stream_that_is_none(rpc, origin):
    with pytest.raises(raw.RpcProtocolError):
        rpc.value(start(rpc, origin + "/echo", method="POST", bodyStreamId=987654))
    body = rpc.send_all(b"x")
    assert failure(rpc, origin + "/echo", method="GET", bodyStreamId=body).cls == "TypeError"


# --- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("url,text", [
    ("http://127.0.0.1:1/", "onnect"),
    ("http://nowhere.invalid/", "resolve"),
    ("http://127.0.0.1:1/[1-3]{a,b}", "onnect"),
    ("http://127.0.0.1:99999/", ""),
    ("not a url", "Invalid URL"),
    ("file:///etc/passwd", "Invalid URL"),
    ("--help", "Invalid URL"),
    ("http://", "Invalid URL"),
    ("http://a b/", "Invalid URL"),
    ("", "Invalid URL"),
])
def test_bad_urls(rpc, url, text):
    error = failure(rpc, url)
    assert error.cls == "TypeError" and error.code is None
    assert text in error.error["message"] and url in error.error["message"]


def test_body_that_breaks_off(rpc, origin):
    response = rpc.value(start(rpc, origin + "/cut"))
    stream = read_body(rpc, response)
    assert stream.error["constructorName"] == "TypeError"
    assert stream.data == b"only this"


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nA: b\r\n", b"hello\r\n\r\n",
                                  b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                                  b"HTTP/1.1 999 OK\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_bad_answers(rpc, answering, data):
    assert failure(rpc, answering(data)).cls == "TypeError"
    no_curl(rpc)


def test_head_that_is_too_long(rpc, origin):
    assert failure(rpc, origin + "/long?n=200000").cls == "TypeError"
    no_curl(rpc)


def test_refusal_of_the_gate(rpc, answering):
    head = b"HTTP/1.1 403 Forbidden\r\nX-Warren-Refused: not-allowed\r\n\r\n"
    error = failure(rpc, answering(head + b'{"message":"no rule allows it"}'))
    assert error.cls == "TypeError" and "no rule allows it" in error.error["message"]
    assert failure(rpc, answering(head)).cls == "TypeError"
    assert failure(rpc, answering(head + b"x" * 9000)).cls == "TypeError"
    no_curl(rpc)


def test_answer_up_to_the_end_of_the_connection(rpc, answering):
    response, body = get(rpc, answering(b"HTTP/1.0 200 Fine\r\n\r\nall of it"))
    assert (response["statusText"], body) == ("Fine", b"all of it")


def test_pid_is_refused(rpc, origin):
    error = failure(rpc, origin + "/hello", pid=1)
    assert error.cls == "NotSupported"


def test_user_settings_do_not_count(rpc, origin):
    rpc.sh("echo 'user-agent = fromrc' > ~/.curlrc")
    try:
        _, headers = echo(rpc, origin)
        assert dict(headers)["user-agent"] != "fromrc"
    finally:
        rpc.sh("rm ~/.curlrc")


def test_environment_of_the_sandbox_counts(rpc, origin):
    rpc.call("envSet", {"key": "http_proxy", "value": origin})
    try:
        response, body = get(rpc, "http://nowhere.invalid/hello")
        assert (response["status"], body) == (200, b"hello"), "asked through the proxy"
    finally:
        rpc.call("envDelete", {"key": "http_proxy"})


# --- abort -------------------------------------------------------------------------------------


def check_abort(error):
    assert error["constructorName"] == "DOMException" and error["name"] == "AbortError"
    assert error.get("code") is None


def test_abort_before_the_answer(rpc, origin):
    request = start(rpc, origin + "/never", abortId=7)
    server_module.wait_until(lambda: rpc.sh("pgrep -x curl || true"), what="curl")
    assert rpc.call("abort", {"abortId": 7}) is None
    with pytest.raises(raw.RpcFailure) as failed:
        rpc.value(request)
    check_abort(failed.value.error)
    no_curl(rpc)


def test_abort_at_once(rpc, origin):
    for n in range(20):
        request = start(rpc, origin + "/never", abortId=n)
        assert rpc.call("abort", {"abortId": n}) is None
        with pytest.raises(raw.RpcFailure) as failed:
            rpc.value(request)
        check_abort(failed.value.error)
    no_curl(rpc)


def test_abort_of_the_body(rpc, origin):
    response = rpc.value(start(rpc, origin + "/drip", abortId=9))
    assert rpc.call("abort", {"abortId": 9}) is None
    stream = read_body(rpc, response)
    check_abort(stream.error)
    no_curl(rpc)
    assert rpc.call("abort", {"abortId": 9}) is None
    response, _ = get(rpc, origin + "/hello", abortId=9)
    assert response["status"] == 200


def test_abort_while_the_body_is_sent(rpc, origin):
    stream = rpc.open_stream()
    request = start(rpc, origin + "/echo", method="POST", bodyStreamId=stream, abortId=3)
    rpc.enqueue(stream, b"x" * 100_000)
    assert rpc.call("abort", {"abortId": 3}) is None
    with pytest.raises(raw.RpcFailure) as failed:
        rpc.value(request)
    check_abort(failed.value.error)
    rpc.enqueue(stream, b"more that nobody wants")
    rpc.end_stream(stream)
    no_curl(rpc)


# --- connections -------------------------------------------------------------------------------


def test_many_at_once(rpc, origin):
    requests = [start(rpc, f"{origin}/bytes?n={n * 1000}") for n in range(40)]
    for n, request in enumerate(requests):
        assert read_body(rpc, rpc.value(request)).data == pattern(n * 1000)


def test_connection_that_goes_takes_its_fetches_along(server, box, rpc, origin):
    with server.attach(box.sandbox_id) as other:
        other.value(start(other, origin + "/drip"))
        start(other, origin + "/never")
        server_module.wait_until(lambda: rpc.sh("pgrep -xc curl || true") == "2\n", what="both")
    no_curl(rpc)


def test_sandbox_that_ends(server):
    with server.create() as one:
        one.request("fetch", {"url": "http://127.0.0.1:1/"})
        start(one, "http://127.0.0.1:1/", method="POST", bodyStreamId=one.open_stream())


def test_python_sees_end_and_never_error(server, box, origin):
    with server.attach(box.sandbox_id, python=True) as python:
        response = python.value(start(python, origin + "/cut"))
        assert read_body(python, response).ended


# --- official clients --------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["deno", "node"])
def runner(request, server):
    command = clients.runtime_command(request.param)
    if command is None:
        pytest.skip(f"{request.param} is not installed")
    one = Runner(command, server_module.clean_environment(
        **server.env, NO_COLOR="1", DENO_DIR=str(clients.javascript().parent / "deno-dir"),
        ORIGIN=str(JS / "origin.mjs")), JS / "fetch_cases.mjs")
    yield one
    one.stop()


@pytest.mark.parametrize("name", CASES)
def test_js(runner, name):
    output = runner.run(name)
    for complaint in ("Failed to parse", "Invalid stream"):
        assert complaint not in output, f"the client complains about the server:\n{output}"


def test_python(client_env, box, origin):
    with DenoDeploy().sandbox.connect(box.sandbox_id) as sandbox:
        response = sandbox.fetch(origin + "/cookies", headers={"x-mine": "1"})
        assert response.status_code == 200
        assert ["x-latin", "caf\u00e9"] in [list(pair) for pair in response.headers]
        assert sandbox.fetch(origin + "/status?s=204").status_code == 204
        assert sandbox.fetch(origin + "/redirect?n=1", redirect="manual").status_code == 302
        assert sandbox.fetch(origin + "/echo", method="POST").status_code == 200
        with pytest.raises(Exception, match="error sending request"):
            sandbox.fetch("http://127.0.0.1:1/")
        assert sandbox.env.get("HOME") == "/home/app"
