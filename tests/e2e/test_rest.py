"""HTTP: credentials, the create configuration, the resources, and malformed requests."""

import base64
import concurrent.futures
import json
import re
import time
from urllib.parse import quote, urlsplit, parse_qs

import httpx
import pytest

import raw
from server import label, wait_until, warren

UNKNOWN_ID = "sbx_ord_" + "0" * 20
ID = re.compile(r"sbx_(ord|ams)_[0-9a-hjkmnp-z]{20}")
TRACE = re.compile(r"[0-9a-f]{32}")


@pytest.fixture(scope="module")
def http(server):
    with server.http() as client:
        yield client


def check_error(response, status, code=None):
    """The canonical error body: flat for the SDKs, nested as the public text has it."""
    assert response.status_code == status, f"{status} expected: {response} {response.text}"
    assert response.headers["content-type"].startswith("application/json")
    assert TRACE.fullmatch(response.headers["x-deno-trace-id"])
    body = response.json()
    assert isinstance(body["code"], str) and isinstance(body["message"], str) and body["message"]
    assert body["error"] == {"code": body["code"], "message": body["message"]}
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+", body["code"])
    if code:
        assert body["code"] == code, body
    return body


def refused(server, config=None, **how):
    """The answer to a create that must not succeed."""
    try:
        rpc = server.create(config, **how)
    except raw.Refused as refusal:
        assert TRACE.fullmatch(refusal.headers["x-deno-trace-id"])
        body = refusal.json
        assert body["error"] == {"code": body["code"], "message": body["message"]}
        return refusal
    rpc.close()
    raise AssertionError(f"create with {config!r} must be refused")


# --- credentials -------------------------------------------------------------------------------

REST_CALLS = [("GET", "/api/v2/sandboxes"), ("GET", "/api/v3/sandboxes"), ("GET", "/v2/sandboxes"),
              ("DELETE", f"/api/v3/sandbox/{UNKNOWN_ID}"),
              ("DELETE", f"/api/v3/sandboxes/{UNKNOWN_ID}"),
              ("PATCH", f"/api/v3/sandbox/{UNKNOWN_ID}"),
              ("GET", "/api/v3/sandboxes/create"), ("GET", f"/api/v3/sandbox/{UNKNOWN_ID}/connect")]
BAD_AUTHORIZATION = {"none": None, "empty": "", "wrong": "Bearer ddo_" + "x" * 40, "bearer-only": "Bearer",
                     "bearer-blank": "Bearer ", "basic": "Basic YTpi", "no-scheme": "ddo_abc",
                     "sql": "Bearer ' OR 1=1 --", "nul-ish": "Bearer ddo_%00", "long": "Bearer " + "a" * 8000}


@pytest.mark.parametrize("method,path", REST_CALLS)
@pytest.mark.parametrize("kind", ["none", "wrong"])
def test_401_on_every_route(server, method, path, kind):
    headers = {"Authorization": BAD_AUTHORIZATION[kind]} if BAD_AUTHORIZATION[kind] else {}
    response = httpx.request(method, server.url + path, headers=headers)
    check_error(response, 401, "INVALID_TOKEN")


@pytest.mark.parametrize("kind", BAD_AUTHORIZATION)
def test_bad_authorization_headers(server, kind):
    value = BAD_AUTHORIZATION[kind]
    headers = {} if value is None else {"Authorization": value}
    lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    response = send(server, f"GET /api/v2/sandboxes HTTP/1.1\r\nHost: x\r\n{lines}\r\n")
    assert (response.status, response.json["code"]) == (401, "INVALID_TOKEN")
    with pytest.raises(raw.Refused) as refusal:
        server.create(token=None, headers=headers)
    assert (refusal.value.status, refusal.value.json["code"]) == (401, "INVALID_TOKEN")


def test_header_spelling_does_not_matter(server):
    for name, scheme in (("authorization", "Bearer"), ("AUTHORIZATION", "bearer")):
        response = httpx.get(server.url + "/api/v2/sandboxes",
                             headers={name: f"{scheme} {server.token}"})
        assert response.status_code == 200, response.text


def works(server, token):
    return httpx.get(server.url + "/api/v2/sandboxes",
                     headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_expired_token(server):
    token = server.new_token(expires="2s")
    assert works(server, token), "valid until it expires"
    wait_until(lambda: not works(server, token), what="the token to expire")
    check_error(httpx.get(server.url + "/api/v2/sandboxes",
                          headers={"Authorization": f"Bearer {token}"}), 401, "INVALID_TOKEN")
    refusal = refused(server, token=token)
    assert (refusal.status, refusal.json["code"]) == (401, "INVALID_TOKEN")


def test_revoked_token(server):
    token, token_id = server.new_token(name="to-be-revoked", with_id=True)
    assert works(server, token)
    warren("token", "revoke", "--state-dir", server.state_dir, token_id)
    check_error(httpx.get(server.url + "/api/v2/sandboxes",
                          headers={"Authorization": f"Bearer {token}"}), 401, "INVALID_TOKEN")
    refusal = refused(server, token=token)
    assert (refusal.status, refusal.json["code"]) == (401, "INVALID_TOKEN")


def test_own_organisation_header_is_accepted(server):
    token = server.new_token(org="header-org")
    response = httpx.get(server.url + "/api/v2/sandboxes", headers={
        "Authorization": f"Bearer {token}", "X-Deno-Org": "header-org"})
    assert response.status_code == 200, response.text


def test_organisations_do_not_see_each_other(server):
    token = server.new_token(org="other-org")
    other = {"Authorization": f"Bearer {token}"}
    with server.create({"timeout": "5m"}) as rpc:
        id = rpc.sandbox_id
        listed = httpx.get(server.url + "/api/v2/sandboxes", headers=other).json()
        assert id not in [s["id"] for s in listed]
        with pytest.raises(raw.Refused) as refusal:
            server.attach(id, token=token)
        assert (refusal.value.status, refusal.value.json["code"]) == (404, "SANDBOX_NOT_FOUND")
        for method, path, body in (("DELETE", f"/api/v3/sandbox/{id}", None),
                                   ("DELETE", f"/api/v3/sandboxes/{id}", None),
                                   ("PATCH", f"/api/v3/sandbox/{id}", {"stop_at_ms": 10**13})):
            response = httpx.request(method, server.url + path, headers=other, json=body)
            check_error(response, 404, "SANDBOX_NOT_FOUND")
        assert rpc.sh("echo alive") == "alive\n"
    server.delete(id)


# --- create ------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [
    None, {}, {"memory_mb": 1280, "volumes": []}, {"memory_mb": 768}, {"memory_mb": 4096},
    {"memory_mb": 1280, "debug": False}, {"debug": True, "unknown": {"a": [1]}, "future": None},
    {"labels": {}}, {"labels": {"k" * 64: "v" * 128}}, {"labels": {"empty": ""}},
    {"labels": {str(n): "v" for n in range(5)}}, {"timeout": "session"}, {"timeout": "30s"},
    {"timeout": "2m"}, {"timeout": None, "labels": None, "region": None, "env": None},
    {"region": "ord"}, {"region": "ams"}, {"volumes": {}}, {"allow_net": []}, {"secrets": {}},
    {"env": {"A": "1", "B_C": "", "ü": "ü\n"}}, {"ssh": False}, {"root": None},
], ids=lambda c: json.dumps(c, ensure_ascii=True)[:60])
def test_accepted_configurations(server, config):
    with server.create(config) as rpc:
        assert ID.fullmatch(rpc.sandbox_id), rpc.sandbox_id
        assert TRACE.fullmatch(rpc.trace_id)
        assert rpc.call("envGet", {"key": "HOME"}) == "/home/app"
        if config and config.get("region"):
            assert rpc.sandbox_id.split("_")[1] == config["region"]
        if config and config.get("env"):
            for key, value in config["env"].items():
                assert rpc.call("envGet", {"key": key}) == value
    server.delete(rpc.sandbox_id)


def test_javascript_dialect(server):
    stop = int(time.time() * 1000) + 300_000
    config = {"stop_at_ms": stop, "memory_mb": 1280, "labels": {"a": "b"}, "volumes": []}
    with server.create(config) as rpc:
        rpc.close()
    with server.attach(rpc.sandbox_id) as again:
        assert again.sh("echo up") == "up\n", "a duration sandbox survives its creator"
        server.delete(rpc.sandbox_id)


def test_latin1_and_utf8_configurations(server):
    """btoa() sends Latin-1, one byte a character; others send UTF-8 or escapes."""
    text = '{"labels":{"who":"Zoë ÿ"}}'
    for data in (text.encode("latin-1"), text.encode("utf-8"),
                 json.dumps({"labels": {"who": "Zoë ÿ"}}).encode("ascii")):
        mark = label()
        data = data.replace(b'{"who"', b'{"mark":"%s","who"' % mark.encode(), 1)
        with server.create(data):
            (found,) = server.list(**{"labels[mark]": mark})
            assert found["labels"]["who"] == "Zoë ÿ", data


BAD_CONFIGS = [
    ("[]", "x-deno-sandbox-config"), ("5", "x-deno-sandbox-config"),
    ("{", "x-deno-sandbox-config"), ('{"memory_mb":}', "x-deno-sandbox-config"),
    ("null", "x-deno-sandbox-config"), ('{"a":1}{"b":2}', "x-deno-sandbox-config"),
    ("[" * 5000, "x-deno-sandbox-config"),
    ({"memory_mb": 767}, "memory_mb"), ({"memory_mb": 4097}, "memory_mb"),
    ({"memory_mb": -1}, "memory_mb"), ({"memory_mb": 0}, "memory_mb"),
    ({"memory_mb": 1280.5}, "memory_mb"), ({"memory_mb": "1280"}, "memory_mb"),
    ({"memory_mb": True}, "memory_mb"), ({"memory_mb": [1280]}, "memory_mb"),
    ({"memory_mb": 10**30}, "memory_mb"), ({"memory_mb": 2**32 + 1280}, "memory_mb"),
    ({"labels": []}, "labels"), ({"labels": "a=b"}, "labels"), ({"labels": {"a": 1}}, "labels"),
    ({"labels": {"a": None}}, "labels"),
    ({"labels": {str(n): "v" for n in range(6)}}, "labels"),
    ({"labels": {"k" * 65: "v"}}, "labels"), ({"labels": {"k": "v" * 129}}, "labels"),
    ({"labels": {"é" * 33: "v"}}, "labels"), ({"labels": {"k": "é" * 65}}, "labels"),
    ({"labels": {"": "v"}}, "labels"), ({"labels": {"a\0b": "v"}}, "labels"),
    ({"labels": {"a": "v\0w"}}, "labels"),
    ({"timeout": 30}, "timeout"), ({"timeout": ""}, "timeout"), ({"timeout": "30"}, "timeout"),
    ({"timeout": "s"}, "timeout"), ({"timeout": "-5s"}, "timeout"), ({"timeout": "0s"}, "timeout"),
    ({"timeout": "1.5m"}, "timeout"), ({"timeout": "5 m"}, "timeout"), ({"timeout": "5d"}, "timeout"),
    ({"timeout": "99999999999999999999s"}, "timeout"), ({"timeout": "25h"}, "timeout"),
    ({"timeout": "Session"}, "timeout"), ({"timeout": "30s\0"}, "timeout"),
    ({"stop_at_ms": "soon"}, "stop_at_ms"), ({"stop_at_ms": 0}, "stop_at_ms"),
    ({"stop_at_ms": -1}, "stop_at_ms"), ({"stop_at_ms": 1700000000000}, "stop_at_ms"),
    ({"stop_at_ms": 10**15}, "stop_at_ms"), ({"stop_at_ms": 1.5}, "stop_at_ms"),
    ({"stop_at_ms": 10**40}, "stop_at_ms"),
    ({"region": "us-east-1"}, "region"), ({"region": "ams1"}, "region"), ({"region": "ORD"}, "region"),
    ({"region": 5}, "region"), ({"region": ""}, "region"), ({"region": "or"}, "region"),
    ({"env": []}, "env"), ({"env": {"A": 1}}, "env"), ({"env": {"": "x"}}, "env"),
    ({"env": {"A=B": "x"}}, "env"), ({"env": {"A": "x\0y"}}, "env"), ({"env": {"A\0B": "x"}}, "env"),
    ({"volumes": "x"}, "volumes"), ({"volumes": [5]}, "volumes"), ({"volumes": {"/a": 5}}, "volumes"),
    ({"volumes": [{"volume": "v"}]}, "volumes"),
    ({"root": 5}, "root"), ({"root": {"volume": 5}}, "root"), ({"root": {}}, "root"),
    ({"allow_net": "example.com"}, "allow_net"), ({"allow_net": [5]}, "allow_net"),
    ({"secrets": []}, "secrets"), ({"secrets": {"A": "v"}}, "secrets"),
    ({"secrets": {"A": {"hosts": [], "value": "v"}}}, "secrets"),
    ({"secrets": {"A": {"hosts": ["h"]}}}, "secrets"),
    ({"port": "80"}, "port"), ({"port": 0}, "port"), ({"port": 65536}, "port"),
    ({"ssh": "yes"}, "ssh"),
]


@pytest.mark.parametrize("config,field", BAD_CONFIGS,
                         ids=lambda v: json.dumps(v)[:50] if not isinstance(v, str) else v[:30] or "empty")
def test_bad_configurations_name_the_field(server, config, field):
    refusal = refused(server, config)
    assert refusal.status == 400, refusal
    assert refusal.json["code"] == "MALFORMED_REQUEST"
    assert field in refusal.json["message"], f"the message must name {field}: {refusal.json}"


@pytest.mark.parametrize("value", ["!!!", "e30", "e30=e30=", "e30= ", "é", "e3 0=", "====", "e"])
def test_malformed_base64(server, value):
    headers = [("x-deno-sandbox-config", value)]
    try:
        with server.create(headers=headers):
            assert value in ("e30= ",), "trailing blanks are not part of a header's value"
    except raw.Refused as refusal:
        assert refusal.status == 400 and "x-deno-sandbox-config" in refusal.json["message"]


def test_malformed_config_over_latin1_garbage(server):
    refusal = refused(server, b"\xff\xfe\x00{")
    assert refusal.status == 400 and "x-deno-sandbox-config" in refusal.json["message"]


@pytest.mark.parametrize("config,field", [
    ({"root": {"volume": "v"}}, "root"), ({"volumes": [{"volume": "v", "path": "/d"}]}, "volumes"),
    ({"volumes": {"/d": "v"}}, "volumes"), ({"port": 8080}, "port"), ({"ssh": True}, "ssh"),
], ids=str)
def test_what_cannot_be_had_is_refused_by_a_typed_error(server, config, field):
    refusal = refused(server, config)
    assert refusal.status in (400, 403, 422, 501), refusal
    assert refusal.json["code"] not in ("MALFORMED_REQUEST", "INTERNAL_ERROR")
    assert field in refusal.json["message"], refusal.json


def test_large_configuration_header_is_accepted(server):
    env = {f"V{n}": "x" * 1000 for n in range(40)}
    with server.create({"env": env}) as rpc:
        assert rpc.call("envGet", {"key": "V39"}) == "x" * 1000


def test_request_is_not_an_upgrade(server, http):
    for path in ("/api/v3/sandboxes/create", f"/api/v3/sandbox/{UNKNOWN_ID}/connect"):
        response = http.get(path)
        assert response.status_code in (400, 404, 426), response
        check_error(response, response.status_code)


@pytest.mark.parametrize("change", [
    {"Sec-WebSocket-Key": None}, {"Sec-WebSocket-Key": "short"}, {"Sec-WebSocket-Version": "12"},
    {"Sec-WebSocket-Version": None}, {"Upgrade": "h2c"}, {"Connection": "close"}], ids=str)
def test_broken_upgrade(server, change):
    headers = {"Host": "x", "Upgrade": "websocket", "Connection": "Upgrade",
               "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
               "Sec-WebSocket-Version": "13", "Authorization": f"Bearer {server.token}"}
    headers.update(change)
    lines = [f"{k}: {v}" for k, v in headers.items() if v is not None]
    before = len(server.list())
    response = send(server, "GET /api/v3/sandboxes/create HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n")
    assert response.status in (400, 426), response
    assert response.json["code"]
    if change == {"Sec-WebSocket-Version": "12"}:
        assert response.headers.get("sec-websocket-version") == "13", "RFC 6455 4.2.2"
    assert len(server.list()) == before, "no sandbox is made for a broken upgrade"


# --- connect -----------------------------------------------------------------------------------


def test_connect_carries_the_id(server, box):
    with server.attach(box.sandbox_id) as rpc:
        assert rpc.sandbox_id == box.sandbox_id and TRACE.fullmatch(rpc.trace_id)


def test_connect_to_a_terminated_sandbox(server):
    with server.create() as rpc:
        pass
    server.wait_stopped(rpc.sandbox_id)
    with pytest.raises(raw.Refused) as refusal:
        server.attach(rpc.sandbox_id)
    assert (refusal.value.status, refusal.value.json["code"]) == (400, "SANDBOX_ALREADY_TERMINATED")
    assert "already been terminated" in refusal.value.json["message"]


@pytest.mark.parametrize("id", [UNKNOWN_ID, "x", "sbx_ord_", "..", "%2e%2e", "a%00b", "sbx_ord_" + "é",
                                "%zz", "'; drop table sandboxes; --", "x" * 3000], ids=lambda i: i[:20])
def test_connect_to_unknown_ids(server, id):
    with pytest.raises(raw.Refused) as refusal:
        server.attach(quote(id, safe="%"))
    assert refusal.value.status in ((404,) if "%" not in id else (404, 400))
    if id == UNKNOWN_ID:
        assert refusal.value.json["code"] == "SANDBOX_NOT_FOUND"


# --- list --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(server):
    """Three labelled sandboxes, one of them stopped."""
    mark = label()
    made = []
    for n in range(3):
        rpc = server.create({"timeout": "10m", "labels": {"mark": mark, "n": str(n), "o'dd": 'a "b" \\ ü\t'}})
        made.append(rpc)
        time.sleep(0.002)  # the order of two in one millisecond is anybody's
    assert server.delete(made[0].sandbox_id).status_code // 100 == 2
    yield mark, [rpc.sandbox_id for rpc in made]
    for rpc in made:
        rpc.close()
        server.discard(rpc.sandbox_id)


@pytest.mark.parametrize("path", ["/api/v2/sandboxes", "/api/v3/sandboxes", "/v2/sandboxes"])
def test_list_shape_and_js_filter(http, three, path):
    mark, ids = three
    response = http.get(path, params={"labels[mark]": mark})
    assert response.status_code == 200, response.text
    assert TRACE.fullmatch(response.headers["x-deno-trace-id"])
    items = response.json()
    assert isinstance(items, list) and [i["id"] for i in items] == ids[::-1], "newest first"
    for item in items:
        assert {"id", "createdAt", "stoppedAt", "region", "status", "labels"} <= set(item)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", item["createdAt"])
        assert item["labels"]["mark"] == mark
    assert [i["status"] for i in items] == ["running", "running", "stopped"]
    assert [i["stoppedAt"] is None for i in items] == [True, True, False]


@pytest.mark.parametrize("path", ["/api/v2/sandboxes", "/api/v3/sandboxes"])
@pytest.mark.parametrize("form", ["js", "python"])
def test_filters_match_all_labels(http, three, path, form):
    mark, ids = three

    def found(labels):
        params = ({f"labels[{k}]": v for k, v in labels.items()} if form == "js"
                  else {"labels": repr(labels)})
        response = http.get(path, params=params)
        assert response.status_code == 200, response.text
        return [i["id"] for i in response.json()]

    assert found({"mark": mark, "n": "1"}) == [ids[1]]
    assert found({"mark": mark, "n": "7"}) == []
    assert found({"mark": mark, "o'dd": 'a "b" \\ ü\t'}) == ids[::-1]
    assert found({"mark": mark, "unknown": ""}) == []


@pytest.mark.parametrize("text", ["{", "{'a'}", "{'a': 1}", "['a']", "{'a': 'b'", "{'a': 'b'} x",
                                  "{'a': 'b\\q'}", "{'a': 'b\\x4'}", "x", "{'a': 'b', }}", "{a: 'b'}"])
def test_python_filter_that_is_no_dict(http, text):
    body = check_error(http.get("/api/v3/sandboxes", params={"labels": text}), 400, "MALFORMED_REQUEST")
    assert "labels" in body["message"]


@pytest.mark.parametrize("text,want", [("{}", True), ("{'a': 'b'}", True), ('{"a": "b"}', True),
                                       ("{'a\\'s': '\\n\\t\\r\\x41\\u00e9\\\\'}", True)])
def test_python_filter_forms(http, text, want):
    response = http.get("/api/v3/sandboxes", params={"labels": text})
    assert response.status_code == 200, response.text


def test_v3_list_paginates_and_v2_does_not(server, http, three):
    mark, ids = three
    assert len(http.get("/api/v2/sandboxes", params={"labels[mark]": mark, "limit": "1"}).json()) == 3
    url, seen = "/api/v3/sandboxes", []
    params = {"labels[mark]": mark, "limit": "1"}
    cursors = []
    for _ in range(5):
        response = http.get(url, params=params)
        assert response.status_code == 200, response.text
        seen += [i["id"] for i in response.json()]
        link = response.headers.get("link")
        if not link:
            break
        match = re.fullmatch(r'<([^>]*)>; rel="next"', link)
        assert match, f"exactly one parameter, double quotes: {link}"
        next_url = match[1]
        assert "," not in next_url and ";" not in next_url, next_url
        parts = urlsplit(next_url)
        assert parts.scheme == "http" and parts.netloc == f"{server.host}:{server.port}", (
            f"an absolute URL from the request's Host: {next_url}")
        cursor = parse_qs(parts.query)["cursor"][0]
        assert re.fullmatch(r"[A-Za-z0-9._~=-]+", cursor), f"URL-safe: {cursor}"
        cursors.append((cursor, next_url))
        params["cursor"] = cursor
    assert seen == ids[::-1]
    first_cursor, first_url = cursors[0]
    # Python sends the whole URL, and after a caller's own cursor two of them: the last one counts.
    for query in ([("cursor", first_url)], [("cursor", "garbage-that-is-old"), ("cursor", first_url)],
                  [("cursor", cursors[1][0]), ("cursor", first_cursor)]):
        response = http.get("/api/v3/sandboxes", params=[("labels[mark]", mark), ("limit", "1"), *query])
        assert response.status_code == 200, (query, response.text)
        assert [i["id"] for i in response.json()] == [ids[1]], query


def test_links_follow_the_host_header(server, http, three):
    mark, _ = three
    response = http.get("/api/v3/sandboxes", params={"labels[mark]": mark, "limit": "1"},
                        headers={"Host": "warren.example:1234"})
    assert response.headers["link"].startswith("<http://warren.example:1234/api/v3/sandboxes?")
    response = http.get("/api/v3/sandboxes", params={"labels[mark]": mark, "limit": "1"},
                        headers={"Host": "a,b;c"})
    link = response.headers.get("link", "")
    assert response.status_code == 400 or not set(",;") & set(link.split(">")[0]), link


@pytest.mark.parametrize("params", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"limit": "-1"},
                                    {"limit": "99999999999999999999"}, {"limit": ""},
                                    {"cursor": "x"}, {"cursor": "http://evil/?nothing=1"},
                                    {"cursor": "1" * 500}, {"cursor": "\0"}], ids=str)
def test_bad_pagination_parameters(http, params):
    response = http.get("/api/v3/sandboxes", params=params)
    body = check_error(response, 400, "MALFORMED_REQUEST")
    assert next(iter(params)) in body["message"] or "query" in body["message"]


# --- extend and kill ---------------------------------------------------------------------------


def now_ms():
    return int(time.time() * 1000)


def test_extend_rules(server, http):
    with server.create({"timeout": "60s"}) as rpc:
        path = f"/api/v3/sandbox/{rpc.sandbox_id}"

        def extend(stop_at_ms):
            response = http.patch(path, json={"stop_at_ms": stop_at_ms})
            assert response.status_code == 200, response.text
            assert set(response.json()) == {"stop_at_ms"} and isinstance(response.json()["stop_at_ms"], int)
            return response.json()["stop_at_ms"]

        want = now_ms() + 10 * 60_000
        assert extend(want) == want
        assert extend(now_ms() + 1000) == want, "an extension never shortens"
        far = extend(now_ms() + 10**10)
        assert want <= far <= now_ms() + 24 * 3600_000 + 10_000, "capped, not refused"
        rpc.close()
        with server.attach(rpc.sandbox_id) as again:
            assert again.sh("echo up") == "up\n"
            server.delete(rpc.sandbox_id)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"{}", b'{"stop_at_ms":"x"}',
                                  b'{"stop_at_ms":null}', b'{"stop_at_ms":1.5}', b'{"stopAtMs":5}', b"\xff"],
                         ids=repr)
def test_bad_extend_bodies(server, http, box, body):
    response = http.patch(f"/api/v3/sandbox/{box.sandbox_id}", content=body)
    message = check_error(response, 400, "MALFORMED_REQUEST")["message"]
    assert "stop_at_ms" in message or "body" in message


@pytest.mark.parametrize("stop", [0, -5, 10**30, -10**30])
def test_absurd_extensions_do_no_harm(server, http, box, stop):
    response = http.patch(f"/api/v3/sandbox/{box.sandbox_id}", json={"stop_at_ms": stop})
    if response.status_code == 200:
        assert response.json()["stop_at_ms"] > now_ms()
    else:
        check_error(response, 400, "MALFORMED_REQUEST")
    with server.attach(box.sandbox_id) as rpc:
        assert rpc.sh("echo up") == "up\n"


def test_extend_of_ended_and_unknown(server, http):
    with server.create() as rpc:
        pass
    server.wait_stopped(rpc.sandbox_id)
    body = {"stop_at_ms": now_ms() + 60_000}
    check_error(http.patch(f"/api/v3/sandbox/{rpc.sandbox_id}", json=body), 400, "SANDBOX_ALREADY_TERMINATED")
    check_error(http.patch(f"/api/v3/sandbox/{UNKNOWN_ID}", json=body), 404, "SANDBOX_NOT_FOUND")


@pytest.mark.parametrize("spelling", ["sandbox", "sandboxes"])
def test_kill_is_idempotent_and_closes_every_socket_first(server, http, spelling):
    rpc = server.create({"timeout": "5m"})
    second = server.attach(rpc.sandbox_id)
    response = http.request("DELETE", f"/api/v3/{spelling}/{rpc.sandbox_id}",
                            headers={"Content-Type": "application/json"})
    assert response.status_code // 100 == 2, response.text
    assert rpc.wait_closed() in (1000, 1001) and second.wait_closed() in (1000, 1001)
    for _ in range(2):
        assert http.delete(f"/api/v3/{spelling}/{rpc.sandbox_id}").status_code // 100 == 2
    with pytest.raises(raw.Refused) as refusal:
        server.attach(rpc.sandbox_id)
    assert refusal.value.json["code"] == "SANDBOX_ALREADY_TERMINATED"
    check_error(http.delete(f"/api/v3/{spelling}/{UNKNOWN_ID}"), 404, "SANDBOX_NOT_FOUND")


def test_kill_does_not_wait_for_a_client_that_never_answers(server, http):
    """The closing handshake is waited for, but not for ever."""
    rpc = server.create({"timeout": "5m"})  # we do not read: our close frame never comes
    assert http.delete(f"/api/v3/sandbox/{rpc.sandbox_id}").status_code // 100 == 2
    rpc.ws.wire.reset()


# --- other paths and methods -------------------------------------------------------------------


@pytest.mark.parametrize("method,path,status", [
    ("GET", "/", 404), ("GET", "/nope", 404), ("GET", "/api", 404), ("GET", "/api/v4/sandboxes", 404),
    ("GET", "//api/v2/sandboxes", 404),
    ("POST", "/api/v2/sandboxes", 405), ("PUT", "/api/v3/sandboxes", 405),
    ("POST", f"/api/v3/sandbox/{UNKNOWN_ID}", 405), ("OPTIONS", "/api/v2/sandboxes", 405),
    ("BREW", "/api/v2/sandboxes", 405),
])
def test_unknown_paths_and_methods_are_json_errors(server, http, method, path, status):
    response = http.request(method, server.url + path)
    assert response.status_code in (status, 404), response
    check_error(response, response.status_code)


@pytest.mark.parametrize("path", ["/api/v2/apps", "/api/v2/volumes", "/api/v2/snapshots/x", "/v2/layers"])
def test_what_is_not_built_in_says_so(http, path):
    response = http.get(path)
    assert response.status_code in (404, 501)
    check_error(response, response.status_code)


def test_head_has_no_body(server):
    response = send(server, f"HEAD /api/v2/sandboxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                            f"{server.token}\r\nConnection: close\r\n\r\n", head_only=True)
    assert response.status in (200, 405)


# --- HTTP at the level of bytes ----------------------------------------------------------------


def send(server, data, timeout=raw.HANG, head_only=False):
    wire = raw.Wire(server.host, server.port)
    try:
        wire.send(data.encode("latin-1") if isinstance(data, str) else data)
        return raw.read_response(wire, timeout, head_only)
    finally:
        wire.close()


def get(server, *lines, path="/api/v2/sandboxes"):
    return (f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n"
            + "".join(line + "\r\n" for line in lines) + "\r\n")


ODD_REQUESTS = {
    # name: (text with {token}, statuses); None = the connection may also just be closed
    "bare-lf": ("GET /api/v2/sandboxes HTTP/1.1\nHost: x\n\n", (400,)),
    "lf-in-head": ("GET /api/v2/sandboxes HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", (400,)),
    "bare-cr": ("GET /api/v2/sandboxes HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", (400,)),
    "no-host": ("GET /api/v2/sandboxes HTTP/1.1\r\nX: y\r\n\r\n", (400,)),
    "two-hosts": ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400,)),
    "two-lengths": ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", (400,)),
    "length-and-chunked": ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked"
                           "\r\n\r\n0\r\n\r\n", (400,)),
    "length-list": ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\nab", (400,)),
    "length-plus": ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", (400,)),
    "length-minus": ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", (400,)),
    "length-hex": ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\na", (400,)),
    "length-huge": ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", (400, 413)),
    "length-terabyte": ("PATCH /api/v3/sandbox/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                        "Content-Length: 1099511627776\r\n\r\n", (400, 413, 404)),
    "chunked-twice": ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
                      (400, 501)),
    "unknown-coding": ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", (400, 501)),
    "chunked-in-1.0": ("POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, 505)),
    "bad-chunk-size": ("PATCH /api/v3/sandbox/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                       "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", (400, 404)),
    "space-before-colon": ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", (400,)),
    "folded-header": ("GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", (400,)),
    "header-without-colon": ("GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", (400,)),
    "empty-header-name": ("GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", (400,)),
    "nul-in-header": ("GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", (400,)),
    "nul-in-path": ("GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    "control-in-path": ("GET /a\x01 HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    "no-version": ("GET /\r\n\r\n", (400,)),
    "version-0.9": ("GET / HTTP/0.9\r\nHost: x\r\n\r\n", (400, 505)),
    "version-2": ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", (400, 505)),
    "version-junk": ("GET / HTTP/1.1x\r\nHost: x\r\n\r\n", (400, 505)),
    "http2-preface": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    "lowercase-http": ("GET / http/1.1\r\nHost: x\r\n\r\n", (400, 505)),
    "two-blanks": ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    "tab": ("GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    "method-with-brackets": ("G[T / HTTP/1.1\r\nHost: x\r\n\r\n", (400, 405, 404)),
    "empty-method": (" / HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    "long-method": ("G" * 5000 + " / HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404, 405, 431, 501)),
    "relative-target": ("GET api/v2 HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404)),
    "star": ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404, 405, 200, 204)),
    "connect": ("CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404, 405, 501)),
    "long-path": ("GET /" + "a" * 200_000 + " HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404, 414, 431)),
    "long-header": ("GET / HTTP/1.1\r\nHost: x\r\nX: " + "a" * 2_000_000 + "\r\n\r\n", (400, 431)),
    "many-headers": ("GET / HTTP/1.1\r\nHost: x\r\n" + "X: y\r\n" * 20_000 + "\r\n", (400, 431)),
    "tls-hello": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\x00" * 40 + "\r\n\r\n", (400,)),
    "bad-percent": ("GET /api/v3/sandbox/%zz/connect HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}"
                    "\r\n\r\n", (400, 404, 426)),
    "expect-other": ("PATCH /api/v3/sandbox/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                     "Expect: tea\r\nContent-Length: 2\r\n\r\n{}", (417, 400, 404)),
}


@pytest.mark.parametrize("name", ODD_REQUESTS)
def test_malformed_http(server, box, name):
    text, statuses = ODD_REQUESTS[name]
    wire = raw.Wire(server.host, server.port)
    try:
        try:
            wire.send(text.replace("{token}", server.token).encode("latin-1"))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all of it was sent
        try:
            response = raw.read_response(wire)
        except EOFError:
            raise AssertionError(f"an answer in {statuses} expected, the connection was just closed") from None
        assert response.status in statuses, response
        assert response.json["code"] and response.json["message"], response
        assert TRACE.fullmatch(response.headers["x-deno-trace-id"])
    finally:
        wire.close()
    assert httpx.get(server.url + "/api/v2/sandboxes",
                     headers={"Authorization": f"Bearer {server.token}"}).status_code == 200


def test_a_framing_error_ends_the_connection(server):
    """What follows a request of unclear length must not be taken for a request."""
    wire = raw.Wire(server.host, server.port)
    wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
              + get(server).encode())
    assert raw.read_response(wire).status == 400
    assert wire.read_all() == b"", "nothing more may be answered"
    wire.close()


def test_unused_body_is_not_taken_for_a_request(server):
    """GET with a body, as Python's client never sends but others do."""
    inner = get(server).encode()
    wire = raw.Wire(server.host, server.port)
    wire.send(get(server, f"Content-Length: {len(inner)}").encode() + inner + get(server).encode())
    for _ in range(2):
        assert raw.read_response(wire).status == 200
    with pytest.raises(raw.Hang):
        wire.fill(0.3)
    wire.close()


def test_chunked_body(server, box):
    stop = now_ms() + 20 * 60_000
    body = json.dumps({"stop_at_ms": stop}).encode()
    chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(p), p) for p in (body[:3], body[3:4], body[4:]))
    response = send(server, (f"PATCH /api/v3/sandbox/{box.sandbox_id} HTTP/1.1\r\nHost: x\r\nAuthorization: "
                             f"Bearer {server.token}\r\nTransfer-Encoding: chunked\r\n\r\n").encode()
                    + chunks + b"0\r\nTrailer: x\r\n\r\n")
    assert response.status == 200 and response.json["stop_at_ms"] >= stop


def test_expect_100_continue(server, box):
    wire = raw.Wire(server.host, server.port)
    body = json.dumps({"stop_at_ms": now_ms() + 60_000}).encode()
    wire.send((f"PATCH /api/v3/sandbox/{box.sandbox_id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
               f"{server.token}\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n").encode())
    first = raw.read_response(wire)
    if first.status == 100:
        wire.send(body)
        first = raw.read_response(wire)
    assert first.status in (200, 417), first
    wire.close()


def test_keep_alive_and_pipelining(server):
    wire = raw.Wire(server.host, server.port)
    wire.send((get(server) + get(server, path="/nope") + get(server)).encode())
    assert [raw.read_response(wire).status for _ in range(3)] == [200, 404, 200], "answers in order"
    wire.send(get(server, "Connection: close").encode())
    assert raw.read_response(wire).status == 200
    assert wire.read_all() == b""


def test_http_1_0(server):
    wire = raw.Wire(server.host, server.port)
    wire.send(f"GET /api/v2/sandboxes HTTP/1.0\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode())
    assert raw.read_response(wire).status == 200
    assert wire.read_all() == b"", "HTTP/1.0 closes unless asked otherwise"


def test_request_in_single_bytes(server):
    wire = raw.Wire(server.host, server.port)
    for byte in get(server).encode():
        wire.send(bytes([byte]))
    assert raw.read_response(wire).status == 200
    wire.close()


def test_slow_and_silent_connections_block_nobody(server, box):
    wires = []
    for n in range(50):
        wire = raw.Wire(server.host, server.port)
        wire.send([b"", b"GET /api/v2/san", get(server)[:-2].encode(),
                   b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"][n % 4])
        wires.append(wire)
    with server.http() as http:
        assert http.get("/api/v2/sandboxes").status_code == 200
    with server.attach(box.sandbox_id) as rpc:
        assert rpc.sh("echo on") == "on\n"
    for wire in wires:
        wire.close()


def test_websocket_frames_right_behind_the_upgrade(server):
    """What a client pipelines behind its upgrade must not be lost."""
    wire = raw.Wire(server.host, server.port)
    wire.send((f"GET /api/v3/sandboxes/create HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, "
               f"Upgrade\r\nSec-WebSocket-Key: {base64.b64encode(b'1' * 16).decode()}\r\n"
               f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {server.token}\r\n\r\n").encode()
              + raw.frame(raw.TEXT, b'{"jsonrpc":"2.0","id":0,"method":"envGet","params":{"key":"HOME"}}'))
    response = raw.read_response(wire)
    assert response.status == 101
    rpc = raw.Rpc(raw.WebSocket(wire, response))
    assert rpc.value(0) == "/home/app"
    rpc.close()


def test_client_that_leaves_before_the_101(server):
    """A create whose client is gone must not leave a sandbox behind."""
    mark = label()
    headers = (f"GET /api/v3/sandboxes/create HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               f"Sec-WebSocket-Key: {base64.b64encode(b'2' * 16).decode()}\r\nSec-WebSocket-Version: 13\r\n"
               f"Authorization: Bearer {server.token}\r\n"
               f"x-deno-sandbox-config: {raw.encode_config({'labels': {'mark': mark}})}\r\n\r\n").encode()
    for _ in range(10):
        wire = raw.Wire(server.host, server.port)
        wire.send(headers)
        wire.reset()
    wait_until(lambda: all(s["status"] == "stopped" for s in server.list(**{"labels[mark]": mark})),
               what="sandboxes of clients that left to stop")


def test_parallel_creates(server):
    def one(n):
        with server.create({"labels": {"n": str(n)}}) as rpc:
            assert rpc.sh(f"echo {n}") == f"{n}\n"
            return rpc.sandbox_id

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        ids = list(pool.map(one, range(18)))
    assert len(set(ids)) == 18


# --- limits ------------------------------------------------------------------------------------


def test_max_sandboxes_per_organisation(fresh_server):
    server = fresh_server("--max-sandboxes", "2")
    first, second = server.create(), server.create({"timeout": "5m"})
    refusal = refused(server)
    assert refusal.status == 429 and refusal.json["code"]
    other = server.new_token(org="roomy")
    with server.create(token=other) as third:
        assert third.sh("echo fits") == "fits\n", "the limit is one per organisation"
    second.close()
    assert refused(server).status == 429, "a duration sandbox counts without clients too"
    first.close()
    server.wait_stopped(first.sandbox_id)
    with server.create() as fourth:
        assert fourth.sh("echo free") == "free\n"


def test_regions_flag(fresh_server):
    server = fresh_server("--regions", "fra,ord")
    with server.create() as rpc:
        assert rpc.sandbox_id.startswith("sbx_fra_"), "the first region is the default"
    with server.create({"region": "ord"}) as rpc:
        assert rpc.sandbox_id.startswith("sbx_ord_")
    refusal = refused(server, {"region": "ams"})
    assert refusal.status == 400 and "region" in refusal.json["message"]


def test_max_lifetime(fresh_server):
    server = fresh_server("--max-lifetime", "90s")
    assert "timeout" in refused(server, {"timeout": "5m"}).json["message"]
    with server.create({"timeout": "60s"}) as rpc, server.http() as http:
        response = http.patch(f"/api/v3/sandbox/{rpc.sandbox_id}", json={"stop_at_ms": now_ms() + 3600_000})
        assert response.status_code == 200
        assert response.json()["stop_at_ms"] <= now_ms() + 91_000, "no extension beyond --max-lifetime"
