"""The unmodified Python client, its two faces: what users of deno-sandbox write."""

import asyncio
import hashlib
import io
import os
import threading
import time

import deno_sandbox
import pytest
from deno_sandbox.errors import (AuthenticationError, HTTPStatusError, ProcessAlreadyExited,
                                 RpcValidationError, UnknownRpcMethod)
from deno_sandbox import AsyncDenoDeploy, DenoDeploy

import raw
from server import label, wait_until

PIPED = {"stdout": "piped", "stderr": "piped"}


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def sdk(server):
    """One client object; it reads its options when it is made."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("DENO_"):
                patch.delenv(name)
        for name, value in server.env.items():
            patch.setenv(name, value)
        yield DenoDeploy()


@pytest.fixture(scope="module")
def sandbox(sdk):
    with sdk.sandbox.create() as one:
        yield one


def output(child):
    """Everything of a child: (status, stdout, stderr)."""
    out = child.stdout.read()
    err = child.stderr.read()
    return child.wait(), out, err


def bash(sandbox, text, **how):
    status, out, err = output(sandbox.spawn("bash", args=["-c", text], **PIPED, **how))
    assert status["success"], f"{text}: {status} {err!r}"
    return out.decode()


# --- processes ---------------------------------------------------------------------------------


def test_create_has_id_and_trace(sandbox):
    assert sandbox.id.startswith("sbx_ord_")
    assert len(sandbox.trace_id) == 32
    assert not sandbox.closed


def test_output(sandbox):
    child = sandbox.spawn("bash", args=["-c", "echo out; echo err >&2; exit 3"], **PIPED)
    assert output(child) == ({"success": False, "code": 3, "signal": None}, b"out\n", b"err\n")


def test_output_is_never_lost_however_fast_the_child_is(sandbox):
    for n in range(40):
        child = sandbox.spawn("echo", args=[str(n)], **PIPED)
        assert child.stdout.read() == b"%d\n" % n
        assert child.wait()["code"] == 0


def test_inherited_output_is_printed(sandbox, capfdbinary):
    child = sandbox.spawn("echo", args=["to my terminal"])
    child.wait()
    deadline = time.monotonic() + raw.HANG
    seen = b""
    while b"to my terminal\n" not in seen:
        assert time.monotonic() < deadline, f"inherited output must be printed, got {seen!r}"
        seen += capfdbinary.readouterr().out


def test_reading_while_it_runs(sandbox):
    with sandbox.spawn("bash", args=["-c", "echo one; sleep 1000"], **PIPED) as child:
        assert child.stdout.readline() == b"one\n"
        assert child.stdout._reader.at_eof() is False


def test_large_outputs(sandbox):
    child = sandbox.spawn("bash", args=["-c", "seq 1 600000 & seq 2000000 2600000 >&2; wait"],
                          **PIPED)
    status, out, err = output(child)
    assert status["code"] == 0
    assert sha(out) == sha(b"".join(b"%d\n" % n for n in range(1, 600001)))
    assert sha(err) == sha(b"".join(b"%d\n" % n for n in range(2000000, 2600001)))


@pytest.mark.parametrize("form", ["list", "file", "generator", "empty", "empty-chunks"])
def test_stdin_data(sandbox, form):
    data = os.urandom(200_000)
    source = {"list": [data[:70_000], data[70_000:]], "file": io.BytesIO(data),
              "generator": (data[i : i + 999] for i in range(0, len(data), 999)),
              "empty": [], "empty-chunks": [b"", data, b""]}[form]
    child = sandbox.spawn("sha256sum", stdin_data=source, **PIPED)
    _, out, _ = output(child)
    assert out.decode()[:64] == sha(b"" if form == "empty" else data)


@pytest.mark.parametrize("chunk", [65536, 1 << 20, 8 << 20])
def test_large_stdin_through_cat(sandbox, chunk):
    """The deadlock trap of protocol 7.4: all of stdin is sent before processWait."""
    data = os.urandom(8 << 20)
    child = sandbox.spawn("cat", stdin_data=[data[i : i + chunk] for i in range(0, len(data), chunk)],
                          **PIPED)
    status, out, _ = output(child)
    assert status["code"] == 0 and len(out) == len(data) and sha(out) == sha(data)


def test_stdin_that_nobody_reads(sandbox):
    child = sandbox.spawn("true", stdin_data=[b"x" * 65536] * 64, **PIPED)
    assert child.wait()["code"] == 0


def test_environment_and_cwd(sandbox):
    child = sandbox.spawn("bash", args=["-c", "echo $FOO; pwd; echo ${HOME-none}"],
                          env={"FOO": "bar"}, cwd="/tmp", **PIPED)
    assert output(child)[1] == b"bar\n/tmp\n/home/app\n"
    child = sandbox.spawn("/usr/bin/env", env={"ONLY": "x"}, clear_env=True, **PIPED)
    assert output(child)[1] == b"ONLY=x\n"


def test_spawn_of_nothing(sandbox):
    with pytest.raises(Exception, match="NotFound.*ENOENT|ENOENT.*NotFound") as failure:
        sandbox.spawn("no-such-command", **PIPED)
    assert not isinstance(failure.value, ProcessAlreadyExited)


def test_kill_and_context_manager(sandbox):
    with sandbox.spawn("sleep", args=["1000"], **PIPED) as child:
        pid = child.pid
    assert bash(sandbox, f"kill -0 {pid} 2>/dev/null && echo alive || echo gone") == "gone\n"


def test_kill_of_an_exited_process(sandbox):
    child = sandbox.spawn("true", **PIPED)
    child.wait()
    child._bridge.run(child._async_proc.kill())


def test_kill_of_a_process_that_exited_unnoticed(sandbox):
    with sandbox.spawn("true", **PIPED):
        pass


def test_unknown_method(sandbox):
    with pytest.raises(UnknownRpcMethod):
        sandbox._bridge.run(sandbox._rpc.call("noSuchMethod", {}))


def test_validation_error(sandbox):
    with pytest.raises(RpcValidationError) as failure:
        sandbox._bridge.run(sandbox._rpc.call("mkdir", {"path": "x", "options": {"mode": "rwx"}}))
    assert failure.value.errors[0]["path"] == ["options", "mode"]
    with pytest.raises(RpcValidationError) as failure:
        sandbox._bridge.run(sandbox._rpc.call("spawn", {"command": "x", "clear_env": 5, **PIPED}))
    assert failure.value.errors[0]["path"] == ["clear_env"]


# --- environment and files ---------------------------------------------------------------------


def test_env(sandbox):
    assert sandbox.env.get("E2E_PY") is None
    sandbox.env.set("E2E_PY", "v a l")
    assert sandbox.env.get("E2E_PY") == "v a l"
    assert bash(sandbox, "echo $E2E_PY") == "v a l\n"
    assert sandbox.env.as_dict()["e2_e__p_y"] == "v a l", "(the client rewrites names)"
    sandbox.env.delete("E2E_PY")
    assert sandbox.env.get("E2E_PY") is None


@pytest.mark.parametrize("form", ["bytes", "list", "generator", "file"])
def test_write_file_forms(sandbox, form):
    data = os.urandom(300_000)
    source = {"bytes": data, "list": [data[:1000], data[1000:]], "file": io.BytesIO(data),
              "generator": (data[i : i + 4096] for i in range(0, len(data), 4096))}[form]
    sandbox.fs.write_file("w.bin", source)
    assert sandbox.fs.read_file("w.bin") == data


@pytest.mark.parametrize("form", ["bytes", "file"])
def test_write_large_file(sandbox, form):
    data = os.urandom(5 << 20)
    sandbox.fs.write_file("big.bin", data if form == "bytes" else io.BytesIO(data))
    assert bash(sandbox, "sha256sum < big.bin; rm big.bin")[:64] == sha(data)


def test_failing_upload_source(sandbox):
    def source():
        yield b"some"
        raise ValueError("the source broke")

    with pytest.raises(Exception, match="the source broke"):
        sandbox.fs.write_file("broken.bin", source())
    assert sandbox.env.get("HOME") == "/home/app"


def test_text_files(sandbox):
    sandbox.fs.write_text_file("t.txt", "ünï ☃\n")
    sandbox.fs.write_text_file("t.txt", "more", append=True)
    assert sandbox.fs.read_text_file("t.txt") == "ünï ☃\nmore"
    with pytest.raises(Exception, match="AlreadyExists"):
        sandbox.fs.write_text_file("t.txt", "x", create_new=True)
    with pytest.raises(Exception, match="NotFound"):
        sandbox.fs.write_text_file("missing.txt", "x", create=False)
    sandbox.fs.write_text_file("run.sh", "#!/bin/sh\necho ran\n", mode=0o755)
    assert bash(sandbox, "./run.sh") == "ran\n"


def test_read_file_below_the_limit_of_the_client(sandbox):
    bash(sandbox, "head -c 700000 /dev/zero > fits")
    assert sandbox.fs.read_file("fits") == bytes(700_000)


def test_read_file_above_the_limit_is_an_error_not_the_end(sandbox):
    bash(sandbox, "head -c 2000000 /dev/zero > toobig")
    with pytest.raises(Exception, match="RangeError.*1048576"):
        sandbox.fs.read_file("toobig")
    assert sandbox.fs.read_text_file("t.txt"), "the connection goes on"


def test_folders(sandbox):
    sandbox.fs.mkdir("d/e", recursive=True)
    sandbox.fs.symlink("e", "d/l")
    sandbox.fs.write_text_file("d/f", "x")
    entries = {e["name"]: e for e in sandbox.fs.read_dir("d")}
    assert set(entries) == {"e", "f", "l"}
    assert entries["l"]["is_symlink"] and entries["e"]["is_directory"] and entries["f"]["is_file"]
    with pytest.raises(Exception, match="ENOTEMPTY"):
        sandbox.fs.remove("d")
    sandbox.fs.remove("d", recursive=True)
    with pytest.raises(Exception, match="NotFound"):
        sandbox.fs.stat("d")


def test_stat(sandbox):
    sandbox.fs.write_text_file("s", "12345")
    info = sandbox.fs.stat("s")
    assert info["is_file"] and info["size"] == 5 and info["uid"] == 1000
    sandbox.fs.symlink("s", "sl")
    assert sandbox.fs.lstat("sl")["is_symlink"] is True
    sandbox.fs.remove("sl")


def test_upload(sandbox, tmp_path):
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/a.txt").write_text("a")
    (tmp_path / "tree/sub/b.bin").write_bytes(os.urandom(200_000))
    (tmp_path / "tree/link").symlink_to("a.txt")
    sandbox.fs.upload(str(tmp_path / "tree"), "/app/tree")
    sandbox.fs.upload(str(tmp_path / "tree"), "/app/tree2")
    assert bash(sandbox, "cd /app/tree && find . | sort | tr '\\n' ' '; cat link") == (
        ". ./a.txt ./link ./sub ./sub/b.bin a")
    assert bash(sandbox, "sha256sum < /app/tree2/sub/b.bin")[:64] == sha(
        (tmp_path / "tree/sub/b.bin").read_bytes())


# --- life --------------------------------------------------------------------------------------


def test_create_options(sdk, server):
    with sdk.sandbox.create(region="ams", memory_mb=2048, env={"NODE_ENV": "dev", "A_B": "c d"},
                            labels={"Team": "x"}, debug=False) as one:
        assert one.id.startswith("sbx_ams_")
        assert bash(one, "echo $NODE_ENV $A_B") == "dev c d\n"
        meta = next(m for m in server.list() if m["id"] == one.id)
        assert meta["region"] == "ams" and meta["labels"] == {"Team": "x"}


def test_session_ends_with_the_block(sdk, server):
    with sdk.sandbox.create() as one:
        pass
    assert one.closed
    server.wait_stopped(one.id)
    with pytest.raises(Exception, match="400"):
        with sdk.sandbox.connect(one.id):
            pass


def test_timeout_close_and_reconnect(sdk):
    with sdk.sandbox.create(timeout="10m") as one:
        one.fs.write_text_file("kept", "still here")
        one.close()
    with sdk.sandbox.connect(one.id) as again:
        assert again.id == one.id
        assert again.fs.read_text_file("kept") == "still here"
        again.kill()


def test_kill_leaves_the_block_quietly(sdk):
    with sdk.sandbox.create() as one:
        one.env.set("A", "1")
        one.kill()
        one.kill()


def test_kill_with_a_wait_in_flight(sdk):
    """The call in flight is answered: this client would wait for ever (protocol 4.5)."""
    with sdk.sandbox.create() as one:
        child = one.spawn("bash", args=["-c", "echo up; exec sleep 1000"], **PIPED)
        assert child.stdout.readline() == b"up\n"
        one.kill()
        assert child.wait() == {"success": False, "code": 137, "signal": "SIGKILL"}
        assert child.stdout.read() == b"" and child.stderr.read() == b"", "streams end"


def test_kill_with_a_read_in_flight(sdk):
    with sdk.sandbox.create() as one:
        bash(one, "mkfifo f")
        caught = []

        def reader():
            try:
                one.fs.read_file("f")
            except Exception as e:
                caught.append(e)

        thread = threading.Thread(target=reader, daemon=True)
        thread.start()
        bash(one, "while ! pgrep -f nothing && [ -e /nope ]; do :; done; true")
        one.kill()
        thread.join(raw.HANG)
        assert not thread.is_alive(), "a read in flight at the kill must be answered"
        assert "WebSocket connection closed" in str(caught[0])


def test_timeout_end_with_a_wait_in_flight(sdk, server):
    with sdk.sandbox.create(timeout="2s") as one:
        child = one.spawn("sleep", args=["1000"], **PIPED)
        assert child.wait() == {"success": False, "code": 137, "signal": "SIGKILL"}
        assert child.stdout.read() == b""
    server.wait_stopped(one.id)


def test_extend_timeout(sdk):
    with sdk.sandbox.create(timeout="60s") as one:
        until = one.extend_timeout(1200).timestamp()
        assert 1100 < until - time.time() < 1300
        assert one.extend_timeout(10).timestamp() == until, "an extension never shortens"
        one.kill()


def test_list_with_labels(sdk):
    mark = label()
    with sdk.sandbox.create(labels={"mark": mark, "it's": 'a "b" \\ ü'}) as one:
        with sdk.sandbox.create(labels={"mark": mark}) as two:
            found = sdk.sandbox.list(labels={"mark": mark}).items
            assert {m["id"] for m in found} == {one.id, two.id}
            exact = sdk.sandbox.list(labels={"mark": mark, "it's": 'a "b" \\ ü'}).items
            assert [m["id"] for m in exact] == [one.id]
            assert exact[0]["status"] == "running" and exact[0]["stopped_at"] is None
            assert exact[0]["created_at"].endswith("Z") or "+" in exact[0]["created_at"]
    assert any(m["id"] == one.id for m in sdk.sandbox.list().items)
    after = sdk.sandbox.list(labels={"mark": mark}).items
    assert {m["status"] for m in after} == {"stopped"} and all(m["stopped_at"] for m in after)


def test_list_pages(sdk, server):
    mark = label()
    made = []
    for _ in range(3):
        with server.create({"labels": {"page": mark}}) as rpc:
            made.append(rpc.sandbox_id)
    page = sdk.sandbox.list(labels={"page": mark})
    seen = [m["id"] for m in page.items]
    while page.has_more:
        page = page.get_next_page()
        seen += [m["id"] for m in page.items]
    assert sorted(seen) == sorted(made)


def test_invalid_token(server, monkeypatch):
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    wrong = DenoDeploy({"token": "ddo_" + "x" * 40})
    with pytest.raises(AuthenticationError):
        with wrong.sandbox.create():
            pass
    with pytest.raises(AuthenticationError):
        with wrong.sandbox.connect("sbx_ord_" + "0" * 20):
            pass
    with pytest.raises(HTTPStatusError) as failure:
        wrong.sandbox.list()
    assert (failure.value.status_code, failure.value.code) == (401, "INVALID_TOKEN")
    assert len(failure.value.trace_id) == 32


def test_refused_options(sdk):
    for options in ({"allow_net": ["http://example.com"]}, {"root": "a-volume"},
                    {"volumes": {"/data": "v"}},
                    {"secrets": {"A": {"hosts": ["a.example"], "value": ""}}},
                    {"memory_mb": 100}, {"region": "us-east-1"}, {"timeout": "1 hour"}):
        with pytest.raises(Exception, match="HTTP 4|HTTP 501"):
            with sdk.sandbox.create(**options):
                pass


def test_unfinished_processes_do_not_break_the_end(sdk, server):
    with sdk.sandbox.create(timeout="5m") as one:
        children = [one.spawn("sleep", args=["1000"], **PIPED) for _ in range(5)]
        for _ in range(3):
            one.spawn("true", **PIPED)
    with sdk.sandbox.connect(one.id) as again:
        left = bash(again, "pgrep -c sleep || true")
        assert int(left) <= len(children) // 2, "the client kills every second one"
        again.kill()


# --- asyncio -----------------------------------------------------------------------------------


def run(coroutine):
    """One asyncio program, with a limit that says where it hangs."""

    async def limited():
        async with asyncio.timeout(45):
            return await coroutine

    return asyncio.run(limited())


async def aoutput(child):
    out, err = await asyncio.gather(child.stdout.read(), child.stderr.read())
    return await child.wait(), out, err


def test_async_ground_tour(sdk):
    async def main():
        deploy = AsyncDenoDeploy()
        async with deploy.sandbox.create(labels={"async": "yes"}) as one:
            child = await one.spawn("bash", args=["-c", "echo out; echo err >&2; exit 5"], **PIPED)
            assert await aoutput(child) == (
                {"success": False, "code": 5, "signal": None}, b"out\n", b"err\n")
            await one.env.set("A", "b")
            assert await one.env.get("A") == "b"
            await one.fs.write_file("f", os.urandom(1000))
            assert len(await one.fs.read_file("f")) == 1000
            await one.fs.write_text_file("t", "tëxt")
            assert await one.fs.read_text_file("t") == "tëxt"
            assert (await one.fs.stat("t"))["size"] == 5
            child = await one.spawn("sleep", args=["1000"], **PIPED)
            await child.kill()
            await one.kill()

    run(main())


def test_async_concurrency(sdk):
    """Requests of other tasks come between a spawn and its processWait."""

    async def main():
        async with AsyncDenoDeploy().sandbox.create() as one:
            async def job(n):
                child = await one.spawn("bash", args=["-c", f"echo {n}; echo {n} >&2"], **PIPED)
                await one.env.get("HOME")
                status, out, err = await aoutput(child)
                assert (status["code"], out, err) == (0, b"%d\n" % n, b"%d\n" % n)

            await asyncio.gather(*(job(n) for n in range(30)))

    run(main())


def test_async_large_stdin_and_output(sdk):
    async def main():
        data = os.urandom(8 << 20)

        async def source():
            for at in range(0, len(data), 100_000):
                yield data[at : at + 100_000]

        async with AsyncDenoDeploy().sandbox.create() as one:
            child = await one.spawn("cat", stdin_data=source(), **PIPED)
            status, out, _ = await aoutput(child)
            assert status["code"] == 0 and sha(out) == sha(data)

    run(main())


def test_async_several_sandboxes(sdk):
    async def main():
        deploy = AsyncDenoDeploy()

        async def one(n):
            async with deploy.sandbox.create() as sandbox:
                await sandbox.fs.write_text_file("mine", str(n))
                child = await sandbox.spawn("cat", args=["mine"], **PIPED)
                assert (await aoutput(child))[1] == str(n).encode()
                return sandbox.id

        ids = await asyncio.gather(*(one(n) for n in range(5)))
        assert len(set(ids)) == 5

    run(main())


def test_async_kill_and_timeout_with_waits_in_flight(sdk):
    async def main():
        deploy = AsyncDenoDeploy()
        async with deploy.sandbox.create(timeout="2s") as one:
            children = [await one.spawn("sleep", args=["1000"], **PIPED) for _ in range(3)]
            for child in children:
                assert (await child.wait())["code"] == 137
                assert await child.stdout.read() == b""
        async with deploy.sandbox.create() as one:
            child = await one.spawn("sleep", args=["1000"], **PIPED)
            wait = asyncio.create_task(child.wait())
            await one.env.get("HOME")
            await one.kill()
            assert (await wait)["signal"] == "SIGKILL"

    run(main())


def test_async_blocked_event_loop_is_not_cut_off(sdk):
    """A program that computes for a while neither pings nor pongs meanwhile."""

    async def main():
        async with AsyncDenoDeploy().sandbox.create() as one:
            child = await one.spawn("bash", args=["-c", "seq 1 300000"], **PIPED)
            time.sleep(3)
            status, out, _ = await aoutput(child)
            assert status["code"] == 0 and out.endswith(b"300000\n")

    run(main())


def test_version_under_test():
    from importlib.metadata import version

    assert version("deno-sandbox") == "0.16.0"
    assert deno_sandbox.__name__ == "deno_sandbox"
