"""The JSON-RPC dialect and the streams, by a client that looks at every message."""

import base64
import hashlib
import json
import os
import re

import pytest

import raw
from raw import RpcFailure

MAX_INT = 2**53 - 1


def sha(data):
    return hashlib.sha256(data).hexdigest()


# --- heartbeat ---------------------------------------------------------------------------------


def test_text_ping_is_answered_by_text_pong(rpc):
    for n in range(3):
        rpc.ping()
        rpc.pump(lambda: rpc.pongs == n + 1, what="pong")


def test_pings_are_answered_while_output_floods(rpc):
    child = rpc.spawn("cat", ["/dev/zero"])
    rpc.keep_log = False
    wait = rpc.request("processWait", {"pid": child["pid"]})
    out = child["stdoutStreamId"]
    rpc.pump(lambda: out in rpc.streams and rpc.streams[out].chunks > 3, what="output of cat")
    rpc.ping()
    rpc.ws.send_frame(raw.PING, b"under load")
    rpc.pump(lambda: rpc.pongs and rpc.ws.pongs, what="both pongs while the stream floods")
    assert rpc.ws.pongs.popleft() == b"under load", "a pong must repeat the ping's payload"
    rpc.call("processKill", {"pid": child["pid"], "signal": "SIGKILL"})
    assert rpc.value(wait)["code"] == 137


# --- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["nope", "", "__proto__", "configure", "Spawn", "spawn ",
                                    "$sandbox.stream.start", "x" * 10000, "exposeGopher", "ünï"],
                         ids=lambda m: m[:20] or "empty")
def test_unknown_method(rpc, method):
    id = rpc.request(method, {"a": 1})
    answer = rpc.response(id)
    assert answer["id"] == id
    assert answer["error"]["code"] == -32601
    assert answer["error"]["message"] == "Method not found", "Python compares the exact text"
    assert answer["error"].get("data") is None or isinstance(answer["error"]["data"], dict)


@pytest.mark.parametrize("id", [0, 1, -5, MAX_INT, "a", "7", "", "ü\u2028\"\\", 4294967296],
                         ids=repr)
def test_id_is_echoed_with_its_type(rpc, id):
    rpc.request("envGet", {"key": "HOME"}, id=id)
    answer = rpc.response(id)
    assert answer["id"] == id and type(answer["id"]) is type(id)


def test_request_without_params(rpc):
    assert rpc.call("envToObject")["HOME"] == "/home/app"


BAD_PARAMS = [
    ("spawn", {"stdout": "piped", "stderr": "piped"}, "command"),
    ("spawn", {"command": 5, "stdout": "piped", "stderr": "piped"}, "command"),
    ("spawn", {"command": None, "stdout": "piped", "stderr": "piped"}, "command"),
    ("spawn", {"command": "true", "args": "x", "stdout": "piped", "stderr": "piped"}, "args"),
    ("spawn", {"command": "true", "args": ["a", 1], "stdout": "piped", "stderr": "piped"},
     "args.1"),
    ("spawn", {"command": "true", "env": [], "stdout": "piped", "stderr": "piped"}, "env"),
    ("spawn", {"command": "true", "env": {"A": 1}, "stdout": "piped", "stderr": "piped"}, "env.A"),
    ("spawn", {"command": "true", "clearEnv": "yes", "stdout": "piped", "stderr": "piped"},
     "clearEnv"),
    ("spawn", {"command": "true", "cwd": 1, "stdout": "piped", "stderr": "piped"}, "cwd"),
    ("spawn", {"command": "true", "stdinStreamId": "1", "stdout": "piped", "stderr": "piped"},
     "stdinStreamId"),
    ("spawn", {"command": "true", "stdinStreamId": 1.5, "stdout": "piped", "stderr": "piped"},
     "stdinStreamId"),
    ("spawn", {"command": "true", "stdout": "pipe", "stderr": "piped"}, "stdout"),
    ("spawn", {"command": "true", "stdout": "piped", "stderr": 2}, "stderr"),
    ("spawn", {"command": "tr\0ue", "stdout": "piped", "stderr": "piped"}, "command"),
    ("spawn", {"command": "true", "args": ["a\0b"], "stdout": "piped", "stderr": "piped"},
     "args.0"),
    ("processWait", {}, "pid"),
    ("processWait", {"pid": "1"}, "pid"),
    ("processWait", {"pid": None}, "pid"),
    ("processWait", {"pid": 1.5}, "pid"),
    ("processWait", {"pid": 2**60}, "pid"),
    ("processKill", {}, "pid"),
    ("processKill", {"pid": 2, "signal": 9}, "signal"),
    ("envGet", {}, "key"),
    ("envGet", {"key": 1}, "key"),
    ("envSet", {"key": "A"}, "value"),
    ("envSet", {"key": "A", "value": 1}, "value"),
    ("envDelete", {}, "key"),
    ("readFile", {}, "path"),
    ("readFile", {"path": 1}, "path"),
    ("readFile", {"path": ["a"]}, "path"),
    ("readFile", {"path": "/tmp/x\0y"}, "path"),
    ("readFile", {"path": "x", "abortId": "1"}, "abortId"),
    ("readTextFile", {}, "path"),
    ("writeFile", {"content": "aGk="}, "path"),
    ("writeFile", {"path": "x", "content": 5}, "content"),
    ("writeFile", {"path": "x", "content": "not base64!"}, "content"),
    ("writeFile", {"path": "x", "content": "aGk"}, "content"),
    ("writeFile", {"path": "x"}, "content"),
    ("writeFile", {"path": "x", "contentStreamId": "1"}, "contentStreamId"),
    ("writeFile", {"path": "x", "content": "aGk=", "options": "x"}, "options"),
    ("writeFile", {"path": "x", "content": "aGk=", "options": {"mode": "0644"}}, "options.mode"),
    ("writeFile", {"path": "x", "content": "aGk=", "options": {"append": 1}}, "options.append"),
    ("writeTextFile", {"path": "x", "content": {}}, "content"),
    ("writeTextFile", {"path": "a\0b", "content": "x"}, "path"),
    ("readDir", {}, "path"),
    ("mkdir", {"path": "x", "options": {"recursive": "true"}}, "options.recursive"),
    ("mkdir", {"path": "x", "options": []}, "options"),
    ("remove", {"path": "x", "options": {"recursive": 1}}, "options.recursive"),
    ("stat", {}, "path"),
    ("lstat", {"path": {}}, "path"),
    ("symlink", {"path": "x"}, "target"),
    ("symlink", {"target": "x"}, "path"),
    ("symlink", {"target": "x", "path": "y", "options": {"type": "door"}}, "options.type"),
    ("abort", {}, "abortId"),
    ("abort", {"abortId": "0"}, "abortId"),
]


@pytest.mark.parametrize("method,params,field", BAD_PARAMS,
                         ids=[f"{m}-{f}-{n}" for n, (m, _, f) in enumerate(BAD_PARAMS)])
def test_bad_parameters_name_the_field(rpc, method, params, field):
    error = rpc.protocol_error(method, params)
    assert error.code == -32602, error
    data = error.error["data"]
    assert isinstance(data, dict) and data["constructorName"] == "ZodError"
    issues = json.loads(data["message"])
    assert isinstance(issues, list) and issues
    for issue in issues:
        assert isinstance(issue["path"], list) and all(isinstance(p, str) for p in issue["path"])
        assert isinstance(issue["expected"], str) and issue["expected"]
        assert isinstance(issue["code"], str) and isinstance(issue["message"], str)
    assert field in [".".join(i["path"]) for i in issues], f"issue for {field} in {issues}"
    assert rpc.call("envGet", {"key": "HOME"}) == "/home/app", "the connection must go on"


@pytest.mark.parametrize("params", [[], "x", 5, True], ids=repr)
def test_params_that_are_no_object(rpc, params):
    id = rpc.request("envGet", params)
    answer = rpc.response(id)
    assert answer["error"]["code"] in (-32602, -32600), answer


NULLS = [
    ("spawn", {"command": "true", "args": None, "env": None, "clearEnv": None, "cwd": None,
               "stdinStreamId": None, "stdout": "piped", "stderr": "piped"}),
    ("envToObject", None),
    ("mkdir", {"path": "{}/d", "options": None}),
    ("mkdir", {"path": "{}/e", "options": {"recursive": None, "mode": None}}),
    ("writeTextFile", {"path": "{}/f", "content": "x", "abortId": None, "contentStreamId": None,
                       "options": None}),
    ("writeFile", {"path": "{}/f", "content": "eA==", "options": {
        "append": None, "create": None, "createNew": None, "mode": None}}),
    ("readFile", {"path": "{}/f", "abortId": None}),
    ("remove", {"path": "{}/f", "options": {"recursive": None}}),
    ("symlink", {"target": "x", "path": "{}/l", "options": {"type": None}}),
]


def test_null_means_absent_for_every_optional_parameter(rpc, here):
    for method, params in NULLS:
        if params and "path" in params:
            params = {**params, "path": params["path"].format(here)}
        value = rpc.call(method, params)
        if method == "readFile":
            assert value == "eA=="


def test_unknown_parameters_are_ignored(rpc, here):
    child = rpc.call("spawn", {"command": "true", "stdin": "piped", "stdout": "piped",
                               "stderr": "piped", "signal": None, "colour": {"a": [1]}})
    status = rpc.call("processWait", {"pid": child["pid"], "vscode": True, "x": 1})
    assert status["code"] == 0
    rpc.call("mkdir", {"path": here + "/x", "options": {"why": 1}, "zzz": "y"})


def test_void_methods_answer_ok_null(rpc, here):
    child = rpc.spawn("sleep", ["100"])
    for method, params in [
        ("envSet", {"key": "E2E_VOID", "value": "1"}),
        ("envDelete", {"key": "E2E_VOID"}),
        ("envDelete", {"key": "E2E_NEVER_SET"}),
        ("writeFile", {"path": here + "/f", "content": ""}),
        ("writeTextFile", {"path": here + "/f", "content": ""}),
        ("mkdir", {"path": here + "/d"}),
        ("symlink", {"target": "f", "path": here + "/l"}),
        ("remove", {"path": here + "/l"}),
        ("processKill", {"pid": child["pid"]}),
        ("abort", {"abortId": 12345}),
    ]:
        id = rpc.request(method, params)
        assert rpc.response(id)["result"] == {"ok": None}, f"{method}: exactly {{'ok': null}}"
    assert rpc.finish(child).code == 143


def test_nullable_keys_are_present(rpc):
    id = rpc.request("spawn", {"command": "true", "stdout": "null", "stderr": "null"})
    child = rpc.response(id)["result"]["ok"]
    assert set(child) >= {"pid", "stdoutStreamId", "stderrStreamId"}
    assert child["stdoutStreamId"] is None and child["stderrStreamId"] is None
    status = rpc.call("processWait", {"pid": child["pid"]})
    assert status == {"success": True, "code": 0, "signal": None, "oom": None}
    assert rpc.response(rpc.request("envGet", {"key": "E2E_UNSET"}))["result"] == {"ok": None}


def test_many_requests_in_flight(rpc):
    ids = [rpc.request("envGet", {"key": "HOME"}) for _ in range(300)]
    assert [rpc.value(id) for id in reversed(ids)] == ["/home/app"] * 300


def test_a_blocking_call_does_not_hold_up_others(rpc, here):
    rpc.sh(f"mkfifo {here}/fifo")
    child = rpc.spawn("sleep", ["100"])
    wait = rpc.request("processWait", {"pid": child["pid"]})
    read = rpc.request("readFile", {"path": here + "/fifo"})
    assert rpc.call("envGet", {"key": "HOME"}) == "/home/app"
    assert rpc.sh("echo alive") == "alive\n"
    rpc.sh(f"printf late > {here}/fifo")
    assert base64.b64decode(rpc.value(read)) == b"late"
    rpc.call("processKill", {"pid": child["pid"]})
    assert rpc.value(wait)["signal"] == "SIGTERM"


# --- processes ---------------------------------------------------------------------------------


def test_output_and_status(rpc):
    result = rpc.sh("printf out; printf err >&2; exit 7", check=False)
    assert (result.out, result.err, result.code) == (b"out", b"err", 7)
    assert result.status == {"success": False, "code": 7, "signal": None, "oom": None}


@pytest.mark.parametrize("size", [1, 65535, 65536, 65537, 1 << 20, 8 << 20])
def test_output_arrives_intact(rpc, size):
    rpc.keep_log = False
    result = rpc.sh(f"head -c {size} /dev/urandom | tee >(sha256sum | cut -c1-64 >&2)", check=False)
    assert len(result.out) == size
    assert sha(result.out) == result.err.decode().strip()


def test_large_stdout_and_stderr_at_once(rpc):
    rpc.keep_log = False
    result = rpc.sh("seq 1 600000 & seq 2000000 2600000 >&2; wait", check=False)
    want_out = b"".join(b"%d\n" % n for n in range(1, 600001))
    want_err = b"".join(b"%d\n" % n for n in range(2000000, 2600001))
    assert sha(result.out) == sha(want_out), "stdout must arrive whole and in order"
    assert sha(result.err) == sha(want_err), "stderr must arrive whole and in order"


def test_start_end_and_status_order(rpc):
    child = rpc.spawn("echo", ["hi"])
    wait = rpc.request("processWait", {"pid": child["pid"]})
    rpc.response(wait)
    kinds = [m.get("method", "answer") for m in rpc.log if isinstance(m, dict)]
    spawn_at = kinds.index("answer")
    assert kinds.index("$sandbox.stream.start") > spawn_at
    ends = [i for i, k in enumerate(kinds) if k == "$sandbox.stream.end"]
    assert len(ends) == 2, "both streams end, the empty one too"
    assert max(ends) < len(kinds) - 1 and kinds[-1] == "answer", (
        "data, ends, then the answer to processWait")


def test_output_is_held_until_process_wait(rpc):
    child = rpc.spawn("bash", ["-c", "echo early; echo early >&2"])
    for _ in range(20):
        rpc.call("envGet", {"key": "HOME"})
    held = [m for m in rpc.log if isinstance(m, dict) and "method" in m]
    assert not held, f"nothing of stdout/stderr before processWait, got {held}"
    result = rpc.finish(child)
    assert (result.out, result.err) == (b"early\n", b"early\n")


def test_held_output_comes_by_itself_in_the_end(rpc):
    child = rpc.spawn("echo", ["unasked"])
    ids = child["stdoutStreamId"], child["stderrStreamId"]
    rpc.pump(lambda: all(i in rpc.streams and rpc.streams[i].ended for i in ids),
             what="output without processWait (the fallback timer)")
    assert rpc.streams[ids[0]].data == b"unasked\n"
    assert rpc.call("processWait", {"pid": child["pid"]})["code"] == 0


def test_wait_on_another_connection_does_not_release_held_output(server, box, rpc):
    child = rpc.spawn("echo", ["mine"])
    with server.attach(box.sandbox_id) as other:
        assert other.call("processWait", {"pid": child["pid"]})["code"] == 0
        assert not other.streams, "another connection must not get the streams of this one"
    assert rpc.finish(child).out == b"mine\n"


def test_stdin_larger_than_every_buffer_before_process_wait(rpc):
    """Python sends all of stdin before its processWait: protocol 7.4, the deadlock trap."""
    data = os.urandom(8 << 20)
    stdin = rpc.open_stream()
    child = rpc.spawn("cat", stdinStreamId=stdin)
    for at in range(0, len(data), 65536):
        rpc.enqueue(stdin, data[at : at + 65536])
    rpc.end_stream(stdin)
    rpc.keep_log = False
    result = rpc.finish(child)
    assert len(result.out) == len(data) and sha(result.out) == sha(data)


def test_stdin_in_one_huge_chunk(rpc):
    data = os.urandom(6 << 20)
    stdin = rpc.open_stream()
    child = rpc.spawn("sha256sum", stdinStreamId=stdin)
    rpc.enqueue(stdin, data)
    rpc.end_stream(stdin)
    assert rpc.finish(child).out.decode()[:64] == sha(data)


def test_stdin_complete_before_the_rpc_that_names_it(rpc):
    stdin = rpc.send_all(b"before" * 50000)
    result = rpc.run("sha256sum", stdinStreamId=stdin)
    assert result.out.decode()[:64] == sha(b"before" * 50000)


def test_stdin_end_is_eof(rpc):
    stdin = rpc.open_stream()
    child = rpc.spawn("bash", ["-c", "read x; echo got $x; read y || echo eof"],
                      stdinStreamId=stdin)
    wait = rpc.request("processWait", {"pid": child["pid"]})
    rpc.enqueue(stdin, b"")  # legal, from Python writing b""
    rpc.enqueue(stdin, b"line\n")
    out = child["stdoutStreamId"]
    rpc.pump(lambda: out in rpc.streams and b"got line" in rpc.streams[out].data,
             what="an answer while stdin is open")
    rpc.end_stream(stdin)
    assert rpc.value(wait)["code"] == 0
    assert rpc.streams[out].data == b"got line\neof\n"


@pytest.mark.parametrize("error", ["plain text", None,
                                   {"constructorName": "TypeError", "message": "boom"}],
                         ids=["string", "null", "object"])
def test_stdin_error_is_eof(rpc, error):
    stdin = rpc.open_stream()
    child = rpc.spawn("cat", stdinStreamId=stdin)
    rpc.enqueue(stdin, b"part")
    rpc.notify("$sandbox.stream.error", {"streamId": stdin, "error": error})
    result = rpc.finish(child)
    assert (result.out, result.code) == (b"part", 0)


def test_without_stdin_stream_stdin_is_dev_null(rpc):
    assert rpc.sh("readlink /proc/self/fd/0; cat") == "/dev/null\n"
    assert rpc.sh("cat", stdin="piped") == "", 'stdin:"piped" without an id is /dev/null too'


def test_server_cancels_stdin_that_the_child_has_closed(rpc):
    stdin = rpc.open_stream()
    child = rpc.spawn("bash", ["-c", "exec 0<&-; exec sleep 100"], stdinStreamId=stdin)
    for _ in range(64):
        rpc.enqueue(stdin, b"x" * 65536)
    rpc.pump(lambda: stdin in rpc.cancels, what="$sandbox.stream.cancel for stdin")
    rpc.enqueue(stdin, b"after the cancel")
    rpc.end_stream(stdin)
    rpc.call("processKill", {"pid": child["pid"]})
    assert rpc.finish(child).code == 143


def test_stdin_for_a_child_that_ends_at_once(rpc):
    stdin = rpc.open_stream()
    child = rpc.spawn("true", stdinStreamId=stdin)
    for _ in range(32):
        rpc.enqueue(stdin, b"y" * 65536)
    rpc.end_stream(stdin)
    assert rpc.finish(child).code == 0
    assert rpc.sh("echo on") == "on\n"


def test_stream_ids_are_unique_and_safe_integers(server):
    with server.create() as one, server.create() as two:
        ids = []
        for _ in range(10):
            for conn in (one, two):
                child = conn.spawn("true")
                ids += [child["stdoutStreamId"], child["stderrStreamId"]]
        assert len(set(ids)) == len(ids) == 40
        assert all(isinstance(i, int) and 0 < i <= MAX_INT for i in ids)


def test_cancelled_output_stream_stays_silent(rpc):
    child = rpc.spawn("bash", ["-c", "while echo aaaaaaaaaaaaaaa; do :; done; exit 9"])
    wait = rpc.request("processWait", {"pid": child["pid"]})
    out = child["stdoutStreamId"]
    rpc.pump(lambda: out in rpc.streams and rpc.streams[out].chunks > 2, what="output")
    rpc.cancel(out)
    rpc.ping()
    # Everything under way comes before the pong; after it nothing may come for this id.
    rpc.pump(lambda: rpc.pongs == 1, what="pong")
    at = len(rpc.log)
    rpc.call("processKill", {"pid": child["pid"], "signal": "SIGKILL"})
    rpc.value(wait)
    rpc.call("envGet", {"key": "HOME"})
    late = [m for m in rpc.log[at:] if isinstance(m, dict)
            and m.get("params", {}).get("streamId") == out]
    assert not late, f"after cancel nothing may be sent for the id, got {late[:2]}"


@pytest.mark.parametrize("reason", [None, "text", {"constructorName": "Error", "message": "m"}],
                         ids=["null", "string", "object"])
def test_cancel_and_other_streams_of_nobody_are_ignored(rpc, reason):
    rpc.cancel(424242, reason)
    rpc.notify("$sandbox.stream.enqueue", {"streamId": 515151, "data": "aGk="})
    rpc.notify("$sandbox.stream.end", {"streamId": 616161})
    rpc.notify("$sandbox.stream.error", {"streamId": 717171, "error": reason})
    rpc.notify("$sandbox.nobody.knows", {})
    rpc.notify("envSet", {"key": "E2E_NOTIFIED", "value": "1"})
    assert rpc.call("envGet", {"key": "HOME"}) == "/home/app"


def test_wait_again_after_exit_and_from_another_connection(server, box, rpc):
    child = rpc.spawn("bash", ["-c", "exit 42"])
    want = {"success": False, "code": 42, "signal": None, "oom": None}
    assert rpc.finish(child).status == want
    assert rpc.call("processWait", {"pid": child["pid"]}) == want
    with server.attach(box.sandbox_id) as other:
        assert other.call("processWait", {"pid": child["pid"]}) == want


@pytest.mark.parametrize("pid", [1, 4000000, 2147483647])
@pytest.mark.parametrize("method", ["processWait", "processKill"])
def test_pids_that_are_not_ours(rpc, method, pid):
    try:
        value = rpc.call(method, {"pid": pid})
    except RpcFailure as failure:
        assert failure.cls in ("TypeError", "NotFound", "PermissionDenied"), failure
    except raw.RpcProtocolError as error:
        assert error.code == -32602 and pid > 4194304, error
    else:
        raise AssertionError(f"{method} of pid {pid} must fail, got {value}")


def test_kill_of_an_exited_process(rpc):
    child = rpc.spawn("true")
    rpc.finish(child)
    try:
        assert rpc.call("processKill", {"pid": child["pid"]}) is None
    except RpcFailure as failure:
        assert (failure.cls, failure.code) == ("TypeError", "ENOENT"), failure


SIGNALS = dict(SIGHUP=1, SIGINT=2, SIGQUIT=3, SIGILL=4, SIGTRAP=5, SIGABRT=6, SIGBUS=7, SIGFPE=8,
               SIGKILL=9, SIGUSR1=10, SIGSEGV=11, SIGUSR2=12, SIGPIPE=13, SIGALRM=14, SIGTERM=15,
               SIGSTKFLT=16, SIGXCPU=24, SIGXFSZ=25, SIGVTALRM=26, SIGPROF=27, SIGPOLL=29,
               SIGIO=29, SIGPWR=30, SIGSYS=31, SIGUNUSED=31)


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_give_128_plus_n(rpc, name):
    child = rpc.spawn("sleep", ["100"])
    rpc.call("processKill", {"pid": child["pid"], "signal": name})
    status = rpc.finish(child).status
    assert status["code"] == 128 + SIGNALS[name] and status["success"] is False
    names = [n for n, v in SIGNALS.items() if v == SIGNALS[name]]
    assert status["signal"] in names, f"signal must be one of {names}, got {status['signal']}"
    assert status["oom"] is None


@pytest.mark.parametrize("name", ["SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH"])
def test_signals_that_kill_nothing(rpc, name):
    child = rpc.spawn("sleep", ["100"])
    rpc.call("processKill", {"pid": child["pid"], "signal": name})
    rpc.call("processKill", {"pid": child["pid"]})
    assert rpc.finish(child).status["signal"] == "SIGTERM"


def test_stop_and_continue(rpc):
    child = rpc.spawn("bash", ["-c", "trap 'echo usr' USR1; echo up; while :; do sleep 0.05; done"])
    wait = rpc.request("processWait", {"pid": child["pid"]})
    out = child["stdoutStreamId"]
    rpc.pump(lambda: out in rpc.streams and rpc.streams[out].data == b"up\n", what="up")
    rpc.call("processKill", {"pid": child["pid"], "signal": "SIGSTOP"})
    rpc.call("processKill", {"pid": child["pid"], "signal": "SIGUSR1"})
    assert rpc.sh(f"awk '/^State/{{print $2}}' /proc/{child['pid']}/status").strip() == "T"
    rpc.call("processKill", {"pid": child["pid"], "signal": "SIGCONT"})
    rpc.pump(lambda: b"usr" in rpc.streams[out].data, what="the trap after SIGCONT")
    rpc.call("processKill", {"pid": child["pid"], "signal": "SIGKILL"})
    assert rpc.value(wait)["code"] == 137


@pytest.mark.parametrize("name", ["SIGBREAK", "SIGEMT", "SIGINFO", "SIGFOO", "TERM", "sigterm", "",
                                  "9", "SIG" + "X" * 5000], ids=lambda n: n[:10] or "empty")
def test_unknown_signals_are_type_errors(rpc, name):
    child = rpc.spawn("sleep", ["100"])
    if len(name) < 100:
        failure = rpc.failure("processKill", {"pid": child["pid"], "signal": name})
        assert failure.cls == "TypeError", failure
        assert failure.code != "ENOENT", "that pair means `already exited` to Python"
    else:
        assert rpc.protocol_error("processKill", {"pid": child["pid"], "signal": name}).code == -32602
    rpc.call("processKill", {"pid": child["pid"]})
    assert rpc.finish(child).code == 143


SPAWN_ERRORS = [
    ("no-such-command", {}, "NotFound", "ENOENT"),
    ("/no/such/file", {}, "NotFound", "ENOENT"),
    ("./no-such-file", {}, "NotFound", "ENOENT"),
    ("/etc/passwd", {}, "PermissionDenied", "EACCES"),
    ("/home/app", {}, "PermissionDenied", "EACCES"),
    ("/etc/passwd/x", {}, "NotADirectory", "ENOTDIR"),
    ("true", {"cwd": "/no/such/dir"}, "NotFound", "ENOENT"),
    ("true", {"cwd": "/etc/passwd"}, "NotADirectory", "ENOTDIR"),
    ("true", {"cwd": "/root"}, "PermissionDenied", "EACCES"),
    ("true", {"env": {"PATH": "/nowhere"}}, "NotFound", "ENOENT"),
]


@pytest.mark.parametrize("command,params,cls,code", SPAWN_ERRORS,
                         ids=[f"{c}-{'-'.join(p)}" for c, p, _, _ in SPAWN_ERRORS])
def test_spawn_errors(rpc, command, params, cls, code):
    failure = rpc.failure("spawn", {"command": command, "stdout": "piped", "stderr": "piped",
                                    **params})
    assert (failure.cls, failure.code) == (cls, code), failure
    assert failure.error["message"]
    assert not rpc.streams, "a spawn that failed has no streams"


def test_spawn_with_a_failed_stdin(rpc):
    stdin = rpc.send_all(b"for nobody")
    failure = rpc.failure("spawn", {"command": "no-such-command", "stdinStreamId": stdin,
                                    "stdout": "piped", "stderr": "piped"})
    assert failure.cls == "NotFound"
    assert rpc.sh("echo fine") == "fine\n"


def test_command_and_cwd_are_relative_to_home(rpc, here):
    rpc.sh(f"printf '#!/bin/sh\npwd\n' > {here}/tool; chmod +x {here}/tool; mkdir -p {here}/sub")
    assert rpc.run("pwd").out == b"/home/app\n"
    assert rpc.run("./tool", cwd=here).out.decode().strip() == here
    assert rpc.run("pwd", cwd="..").out == b"/home\n"
    assert rpc.run(here + "/tool", cwd="/").out == b"/\n"


def test_argument_bytes_reach_the_program(rpc):
    args = ["", " ", "a b", "ünï ☃ 😀", "$HOME", "`id`", "-n", "\n", "x" * 100000]
    out = rpc.run("printf", ["%s\\0", *args]).out
    assert out.decode().split("\0")[:-1] == args


def test_too_long_arguments(rpc):
    """Linux takes 128 KiB for one argument and, as a rule, 2 MiB for all."""
    error = rpc.protocol_error("spawn", {"command": "true", "args": ["x" * 200000],
                                         "stdout": "piped", "stderr": "piped"})
    assert error.code == -32602 and error.issues[0]["path"] == ["args", "0"], error
    failure = rpc.failure("spawn", {"command": "true", "args": ["x" * 100000] * 40,
                                    "stdout": "piped", "stderr": "piped"})
    assert failure.code == "E2BIG", failure


def test_env_clear_env_and_path(rpc, here):
    rpc.call("envSet", {"key": "E2E_BASE", "value": "base"})
    got = rpc.run("env", env={"ONE": "1", "E2E_BASE": "over"}).out.decode().splitlines()
    assert "ONE=1" in got and "E2E_BASE=over" in got and "HOME=/home/app" in got
    got = rpc.run("/usr/bin/env", env={"ONLY": "me"}, clearEnv=True).out.decode().splitlines()
    assert got == ["ONLY=me"], "clearEnv leaves nothing but env"
    rpc.sh(f"printf '#!/bin/sh\necho mine\n' > {here}/mytool; chmod +x {here}/mytool")
    assert rpc.run("mytool", env={"PATH": f"{here}:/usr/bin:/bin"}).out == b"mine\n"
    rpc.call("envDelete", {"key": "E2E_BASE"})


def test_pid_session_and_identity(rpc):
    child = rpc.spawn("bash", ["-c", "echo $$; ps -o pid=,pgid=,sid=,user= -p $$; umask; pwd"])
    pid, ids, umask, cwd = rpc.finish(child).out.decode().splitlines()
    assert int(pid) == child["pid"], "the pid is the pid in the guest"
    assert ids.split() == [pid, pid, pid, "app"], "own session and process group, user app"
    assert umask == "0022" and cwd == "/home/app"


def test_no_descriptor_leaks_into_a_process(rpc):
    out = rpc.run("ls", ["-l", "/proc/self/fd"]).out.decode()
    numbers = sorted(int(line.split()[8]) for line in out.splitlines()[1:])
    assert numbers == [0, 1, 2, 3], f"0-2 and ls's own folder only: {out}"


def test_status_comes_although_a_grandchild_holds_the_pipe(rpc):
    child = rpc.spawn("bash", ["-c", "sleep 1000 & echo $!; exit 3"])
    assert rpc.call("processWait", {"pid": child["pid"]})["code"] == 3
    out = rpc.streams[child["stdoutStreamId"]]
    rpc.pump(lambda: out.data.endswith(b"\n"), what="the grandchild's pid")
    grandchild = out.data.decode().strip()
    assert rpc.sh(f"cat /proc/{grandchild}/comm") == "sleep\n", "it must still be running"
    rpc.sh(f"kill {grandchild}")
    rpc.pump(lambda: out.finished, what="the end of the stream once the grandchild is gone")
    assert out.ended and out.error is None


def test_orphans_are_reaped(rpc):
    rpc.sh("for i in 1 2 3; do (sleep 0.01 &) ; done; sleep 0.3")
    assert rpc.sh("ps -eo stat=,comm= | grep -c ^Z || true") == "0\n"


def test_process_and_stdin_of_a_connection_that_left(server, box, rpc, here):
    other = server.attach(box.sandbox_id)
    stdin = other.open_stream()
    reader = other.spawn("bash", ["-c", f"cat > {here}/got; echo eof > {here}/done"],
                         stdinStreamId=stdin)
    other.enqueue(stdin, b"some")
    writer = other.spawn("bash", ["-c", f"seq 1 600000; echo over > {here}/writer"])
    other.close()
    assert rpc.call("processWait", {"pid": reader["pid"]})["code"] == 0, "stdin gets EOF"
    assert rpc.sh(f"cat {here}/got {here}/done") == "someeof\n"
    assert rpc.call("processWait", {"pid": writer["pid"]})["code"] == 0, "output is drained"
    assert rpc.sh(f"cat {here}/writer") == "over\n"


def test_connection_that_left_without_reading(server, box, rpc, here):
    other = server.attach(box.sandbox_id)
    writer = other.spawn("bash", ["-c", f"seq 1 2000000; echo over > {here}/writer"])
    other.request("processWait", {"pid": writer["pid"]})
    other.pump(lambda: writer["stdoutStreamId"] in other.streams, what="the first output")
    other.ws.wire.reset()
    assert rpc.call("processWait", {"pid": writer["pid"]})["code"] == 0
    assert rpc.sh(f"cat {here}/writer") == "over\n"


def test_stream_ids_of_connections_are_separate(server, box, rpc):
    with server.attach(box.sandbox_id) as other:
        mine, theirs = rpc.open_stream(), other.open_stream()
        assert mine == theirs
        a = rpc.spawn("cat", stdinStreamId=mine)
        b = other.spawn("cat", stdinStreamId=theirs)
        rpc.enqueue(mine, b"mine")
        other.enqueue(theirs, b"theirs")
        rpc.end_stream(mine)
        other.end_stream(theirs)
        assert rpc.finish(a).out == b"mine"
        assert other.finish(b).out == b"theirs"


def test_stream_id_zero_and_largest(rpc):
    for stream_id in (0, MAX_INT):
        rpc.notify("$sandbox.stream.start", {"streamId": stream_id})
        rpc.enqueue(stream_id, b"edge")
        rpc.end_stream(stream_id)
        assert rpc.run("cat", stdinStreamId=stream_id).out == b"edge"


def test_key_order_and_spacing_of_stream_messages_do_not_matter(rpc):
    stdin = rpc.open_stream()
    child = rpc.spawn("cat", stdinStreamId=stdin)
    b64 = base64.b64encode
    for n, text in enumerate([
        '{"jsonrpc":"2.0","method":"$sandbox.stream.enqueue","params":{"streamId":%d,"data":"%s"}}',
        '{"method": "$sandbox.stream.enqueue", "params": {"streamId": %d, "data": "%s"}, '
        '"jsonrpc": "2.0"}',
        '{"params":{"streamId":%d,"data":"%s"},"method":"$sandbox.stream.enqueue","jsonrpc":"2.0"}',
        ' {"jsonrpc":"2.0","method":"\\u0024sandbox.stream.enqueue","params":{"streamId":%d,'
        '"x":[{}],"data":"%s"}} ',
    ]):
        rpc.ws.send_text(text % (stdin, b64(b"%d" % n).decode()))
    rpc.ws.send_text('{"jsonrpc":"2.0","method":"$sandbox.stream.enqueue","params":'
                     '{"data":"NA\\u003d\\u003d","streamId":%d}}' % stdin)
    rpc.end_stream(stdin)
    assert rpc.finish(child).out == b"01234"


# --- abort -------------------------------------------------------------------------------------


ABORTED = {"constructorName": "DOMException", "name": "AbortError",
           "message": "The signal has been aborted"}


def assert_aborted(rpc, id):
    error = rpc.response(id)["result"]["error"]
    assert error.get("code") is None, "a code on a DOMException breaks the JS client"
    assert {k: v for k, v in error.items() if v is not None} == ABORTED


def test_abort_of_unknown_and_finished_calls_is_ok(rpc):
    assert rpc.call("abort", {"abortId": 999}) is None
    rpc.call("writeTextFile", {"path": "a.txt", "content": "x", "abortId": 5})
    assert rpc.call("abort", {"abortId": 5}) is None


def test_abort_a_read(rpc, here):
    rpc.sh(f"mkfifo {here}/fifo")
    for method in ("readFile", "readTextFile"):
        id = rpc.request(method, {"path": here + "/fifo", "abortId": 7})
        assert rpc.call("abort", {"abortId": 7}) is None
        assert_aborted(rpc, id)


@pytest.mark.parametrize("method", ["writeFile", "writeTextFile"])
def test_abort_a_write(rpc, here, method):
    stream = rpc.open_stream()
    id = rpc.request(method, {"path": here + "/w", "contentStreamId": stream, "abortId": 0})
    rpc.enqueue(stream, b"begun")
    assert rpc.call("abort", {"abortId": 0}) is None
    assert_aborted(rpc, id)
    rpc.enqueue(stream, b"late")
    rpc.end_stream(stream)
    assert rpc.sh("echo fine") == "fine\n"


def test_abort_ids_of_connections_are_separate(server, box, rpc, here):
    rpc.sh(f"mkfifo {here}/fifo")
    id = rpc.request("readFile", {"path": here + "/fifo", "abortId": 3})
    with server.attach(box.sandbox_id) as other:
        assert other.call("abort", {"abortId": 3}) is None
    rpc.sh(f"printf x > {here}/fifo")
    assert rpc.value(id) == "eA=="


# --- environment -------------------------------------------------------------------------------


def test_base_environment(rpc):
    env = rpc.call("envToObject", {})
    assert env["HOME"] == "/home/app" and env["USER"] == "app"
    assert {"/usr/bin", "/bin"} & set(env["PATH"].split(":"))
    assert env["LANG"] == "C.UTF-8" or env.get("LC_ALL") == "C.UTF-8"
    assert env["DENO_DEPLOY_ORGANIZATION_ID"]


def test_environment_is_shared_by_connections_and_later_processes(server, box, rpc):
    value = "a=b ünï\n\"' $X"
    early = rpc.spawn("bash", ["-c", "read; echo ${E2E_SHARED-unset}"],
                      stdinStreamId=(stdin := rpc.open_stream()))
    rpc.call("envSet", {"key": "E2E_SHARED", "value": value})
    with server.attach(box.sandbox_id) as other:
        assert other.call("envGet", {"key": "E2E_SHARED"}) == value
        assert other.sh('printf %s "$E2E_SHARED"') == value
        assert other.call("envToObject", {})["E2E_SHARED"] == value
        other.call("envDelete", {"key": "E2E_SHARED"})
    assert rpc.call("envGet", {"key": "E2E_SHARED"}) is None
    rpc.enqueue(stdin, b"\n")
    rpc.end_stream(stdin)
    assert rpc.finish(early).out == b"unset\n", "a running process keeps its environment"


@pytest.mark.parametrize("key", ["", "A=B", "=", "A\0B"], ids=repr)
@pytest.mark.parametrize("method", ["envSet", "envGet", "envDelete"])
def test_bad_environment_names(rpc, method, key):
    params = {"key": key, "value": "x"} if method == "envSet" else {"key": key}
    try:
        value = rpc.call(method, params)
    except RpcFailure as failure:
        assert failure.cls == "TypeError", failure
    except raw.RpcProtocolError as error:
        assert error.code == -32602 and error.issues[0]["path"] == ["key"], error
    else:
        assert method != "envSet" and value is None, f"{method} {key!r} answered {value!r}"
    assert rpc.sh("echo on") == "on\n"


# --- kill and Python's connections -------------------------------------------------------------


def test_kill_answers_what_is_open_on_a_python_connection(server):
    rpc = server.create(python=True)
    child = rpc.spawn("bash", ["-c", "echo begun; exec sleep 1000"])
    wait = rpc.request("processWait", {"pid": child["pid"]})
    out = child["stdoutStreamId"]
    rpc.pump(lambda: out in rpc.streams and rpc.streams[out].data, what="output")
    rpc.call("mkdir", {"path": "d"})
    rpc.sh("mkfifo f")
    read = rpc.request("readFile", {"path": "f"})
    rpc.call("envGet", {"key": "HOME"})
    assert server.delete(rpc.sandbox_id).status_code // 100 == 2
    status = rpc.value(wait)
    assert (status["code"], status["signal"], status["success"]) == (137, "SIGKILL", False)
    answer = rpc.response(read)
    assert answer["error"]["code"] == 1, answer
    assert answer["error"]["message"] == "WebSocket connection closed"
    assert rpc.streams[out].ended and rpc.streams[child["stderrStreamId"]].ended, (
        "each open stream is ended before the close frame")
    assert rpc.wait_closed() in (1000, 1001)


def test_kill_of_a_js_connection_just_closes(server):
    rpc = server.create()
    rpc.sh("mkfifo f")
    read = rpc.request("readFile", {"path": "f"})
    rpc.call("envGet", {"key": "HOME"})
    assert server.delete(rpc.sandbox_id).status_code // 100 == 2
    assert rpc.wait_closed() in (1000, 1001)
    assert json.dumps(read) not in rpc.answers, "JS users expect ConnectionClosedError"


@pytest.mark.parametrize("size,fits", [(700 * 1024, True), (786000, True), (800 * 1024, False),
                                       (3 << 20, False)])
def test_read_file_size_on_a_python_connection(server, box, rpc, here, size, fits):
    rpc.sh(f"head -c {size} /dev/zero > {here}/big")
    with server.attach(box.sandbox_id, python=True) as python:
        for method in ("readFile", "readTextFile"):
            try:
                value = python.call(method, {"path": here + "/big"})
                assert fits or method == "readTextFile"
                assert len(base64.b64decode(value) if method == "readFile" else value) == size
            except RpcFailure as failure:
                assert failure.cls == "RangeError", failure
                message = failure.error["message"]
                assert re.search(r"\d{6}", message) and "open" in message and "read" in message, (
                    f"the message names the size and open/read: {message}")
                assert not fits or method == "readTextFile", "NUL is six bytes in JSON"
        assert python.call("envGet", {"key": "HOME"}) == "/home/app", "the connection lives on"
    assert len(base64.b64decode(rpc.call("readFile", {"path": here + "/big"}))) == size


def test_environment_too_large_for_python_does_not_kill_it(server, rpc, box):
    keys = [f"E2E_BIG{n}" for n in range(3)]
    for key in keys:
        rpc.call("envSet", {"key": key, "value": "\x01" * 100000})  # six bytes each in JSON
    try:
        with server.attach(box.sandbox_id, python=True) as python:
            assert python.failure("envToObject", {}).cls == "RangeError"
            assert python.call("envGet", {"key": "HOME"}) == "/home/app"
    finally:
        for key in keys:
            rpc.call("envDelete", {"key": key})
