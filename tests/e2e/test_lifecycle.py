"""Beginning and end: of sandboxes, of the server, and of each of its processes by kill -9."""

import contextlib
import json
import os
import random
import re
import signal
import stat
import subprocess
import tempfile
import threading
import time

import httpx
import pytest

import raw
import server as server_module
from server import Server, clean_environment, label, wait_until, warren

pytestmark = pytest.mark.hang(120)

REASONS = {"client-closed", "timeout", "killed-by", "oom", "crashed", "start-failed", "host-restart",
           "evicted"}


def end_reason(server, sandbox_id):
    with server.http() as http:
        response = http.get(f"/api/v3/sandbox/{sandbox_id}")
        assert response.status_code == 200, response.text
        return response.json()["endReason"]


def now_ms():
    return int(time.time() * 1000)


# --- ends of a sandbox -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close-1000", "close-empty", "fin", "rst", "broken-frame"])
def test_session_ends_with_its_creator_however_it_goes(server, how):
    rpc = server.create()
    second = server.attach(rpc.sandbox_id)
    child = second.spawn("sleep", ["1000"])
    assert child["pid"] > 1
    if how == "close-1000":
        rpc.ws.close(1000)
    elif how == "close-empty":
        rpc.ws.close()
    elif how == "fin":
        rpc.ws.wire.close()
    elif how == "rst":
        rpc.ws.wire.reset()
    else:
        rpc.ws.send_frame(3, b"x")
        rpc.wait_closed()
    assert second.wait_closed() in (1000, 1001), "secondary clients do not keep it alive"
    server.wait_stopped(rpc.sandbox_id)
    assert end_reason(server, rpc.sandbox_id) == "client-closed"


@pytest.mark.parametrize("how", ["close", "rst"])
def test_duration_survives_its_creator(server, how):
    rpc = server.create({"timeout": "5m"})
    rpc.sh("echo kept > kept; sleep 1000 > /dev/null 2>&1 &")
    if how == "close":
        rpc.close()
    else:
        rpc.ws.wire.reset()
    with server.attach(rpc.sandbox_id) as again:
        assert again.sh("cat kept; pgrep -c sleep") == "kept\n1\n", "files and processes are there"
    assert server.status(rpc.sandbox_id) == "running"
    server.delete(rpc.sandbox_id)
    server.wait_stopped(rpc.sandbox_id)
    assert end_reason(server, rpc.sandbox_id) == "killed-by"


@pytest.mark.parametrize("config", [{"timeout": "1s"}, "stop_at_ms"], ids=str)
def test_end_at_its_time_with_clients_connected(server, config):
    if config == "stop_at_ms":
        config = {"stop_at_ms": now_ms() + 1000}
    rpc = server.create(config)
    second = server.attach(rpc.sandbox_id)
    assert rpc.wait_closed() in (1000, 1001) and second.wait_closed() in (1000, 1001)
    server.wait_stopped(rpc.sandbox_id)
    assert end_reason(server, rpc.sandbox_id) == "timeout"


def test_extend_keeps_it_alive_beyond_its_first_time(server):
    with server.create({"timeout": "2s"}) as rpc, server.http() as http:
        first = now_ms() + 2000
        response = http.patch(f"/api/v3/sandbox/{rpc.sandbox_id}", json={"stop_at_ms": now_ms() + 60_000})
        assert response.json()["stop_at_ms"] > first
        rpc.sh("sleep 2.5; true")
        assert rpc.sh("echo alive") == "alive\n"
        server.delete(rpc.sandbox_id)


def test_extend_of_a_session_is_only_an_upper_bound(server):
    rpc = server.create()
    with server.http() as http:
        response = http.patch(f"/api/v3/sandbox/{rpc.sandbox_id}", json={"stop_at_ms": now_ms() + 600_000})
        assert response.status_code == 200
    rpc.close()
    server.wait_stopped(rpc.sandbox_id)
    assert end_reason(server, rpc.sandbox_id) == "client-closed", "the session rule stays"


def test_session_with_an_upper_bound_ends_then(server):
    rpc = server.create()
    with server.http() as http:
        assert http.patch(f"/api/v3/sandbox/{rpc.sandbox_id}",
                          json={"stop_at_ms": now_ms() + 1200}).status_code == 200
    assert rpc.wait_closed() in (1000, 1001)
    server.wait_stopped(rpc.sandbox_id)


def test_python_connections_get_answers_at_the_end_of_time(server):
    rpc = server.create({"timeout": "1s"}, python=True)
    child = rpc.spawn("sleep", ["1000"])
    wait = rpc.request("processWait", {"pid": child["pid"]})
    status = rpc.value(wait)
    assert (status["code"], status["signal"]) == (137, "SIGKILL")
    assert rpc.streams[child["stdoutStreamId"]].ended and rpc.streams[child["stderrStreamId"]].ended
    assert rpc.wait_closed() in (1000, 1001)


def test_second_python_connection_gets_answers_when_the_session_ends(server):
    rpc = server.create()
    second = server.attach(rpc.sandbox_id, python=True)
    child = second.spawn("sleep", ["1000"])
    wait = second.request("processWait", {"pid": child["pid"]})
    second.call("envGet", {"key": "HOME"})
    rpc.close()
    assert second.value(wait)["code"] == 137
    assert second.wait_closed() in (1000, 1001)


def test_processes_are_gone_with_their_sandbox(server):
    mark = label()
    rpc = server.create()
    rpc.sh(f"setsid bash -c 'exec -a {mark} sleep 1000' > /dev/null 2>&1 &")
    rpc.sh(f"sudo setsid bash -c 'exec -a {mark} sleep 1000' > /dev/null 2>&1 &")

    def alive():
        return [pid for pid in server_module.all_processes()
                if mark in server_module._read(f"/proc/{pid}/cmdline")
                and "sleep" in server_module._read(f"/proc/{pid}/comm")]

    wait_until(lambda: len(alive()) == 2, what="two marked processes on the host")
    server.delete(rpc.sandbox_id)
    wait_until(lambda: not alive(), what="the marked processes to be gone")


def test_disk_of_an_ended_sandbox_is_freed(server):
    """The disk has no name (nothing can be left over), so only the host's free space tells."""
    def free():
        info = os.statvfs(server.state_dir)
        return info.f_bavail * info.f_frsize

    with server.create() as rpc:
        before = free()
        rpc.sh("head -c 300000000 /dev/zero | tr '\\0' x > ~/fill; sync")
        assert free() < before - 200_000_000, "what a sandbox writes is on the host's disk"
    server.delete(rpc.sandbox_id)
    wait_until(lambda: free() > before - 100_000_000, what="the space to be given back", step=0.2)


def test_a_sandbox_starts_with_nothing_of_another(server):
    with server.create({"timeout": "5m"}) as rpc:
        rpc.sh("echo secret > ~/mine; echo secret > /tmp/mine; echo secret > /app/mine; echo s > /dev/shm/mine")
        server.delete(rpc.sandbox_id)
    with server.create() as other:
        assert other.sh("ls -A ~/mine /tmp/mine /app/mine /dev/shm/mine 2>/dev/null || echo nothing") == "nothing\n"


def test_memory_kill_of_a_grandchild_is_not_blamed_on_the_next_kill(server):
    with server.create({"memory_mb": 768}) as rpc:
        eater = rpc.run("bash", ["-c", "python3 -c 'x = bytearray(1200 << 20)'; echo $?"])
        assert (eater.code, eater.out) == (0, b"137\n"), eater
        killed = rpc.run("bash", ["-c", "kill -9 $$"])
        assert (killed.code, killed.status["oom"]) == (137, None), "an ordinary kill is no lack of memory"


@pytest.mark.parametrize("megabytes,fits,too_much", [(768, 500, 1000), (2048, 1500, None)])
def test_memory_of_each_size_is_enforced(server, megabytes, fits, too_much):
    def take(rpc, size):
        return rpc.run("python3", ["-c", f"x = bytearray({size} << 20); print('got', len(x) >> 20)"])

    with server.create({"memory_mb": megabytes}) as rpc:
        assert take(rpc, fits).out == f"got {fits}\n".encode()
        if too_much:
            result = take(rpc, too_much)
            assert result.code == 137 and result.out == b"", f"{too_much} MiB must not fit: {result}"
            assert result.status["oom"] in ("high-confidence", "low-confidence")
            assert rpc.sh("echo alive") == "alive\n", "only the process is killed, not the sandbox"


# --- the server begins and ends -----------------------------------------------------------------


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_server_ends_within_five_seconds_with_sandboxes_running(fresh_server, sig):
    server = fresh_server()
    session, duration = server.create(), server.create({"timeout": "10m"}, python=True)
    session.sh("trap '' TERM INT HUP; (while :; do sleep 1; done) > /dev/null 2>&1 &")
    child = duration.spawn("sleep", ["1000"])
    wait = duration.request("processWait", {"pid": child["pid"]})
    duration.call("envGet", {"key": "HOME"})
    status = server.stop(sig, timeout=server_module.STOP_TIMEOUT)
    assert status == 0, f"a clean end is exit status 0, got {status}"
    assert session.wait_closed() in (1000, 1001)
    assert duration.value(wait)["code"] == 137, "Python's calls in flight are answered"
    assert duration.wait_closed() in (1000, 1001)
    server.assert_clean()
    assert {r["id"] for r in server.records()} == {session.sandbox_id, duration.sandbox_id}


def test_second_signal_while_stopping_does_no_harm(fresh_server):
    server = fresh_server()
    server.create()
    server.note_tree()
    server.process.send_signal(signal.SIGTERM)
    with contextlib.suppress(ProcessLookupError):
        server.process.send_signal(signal.SIGINT)
    server.process.wait(10)
    server.assert_clean()


def test_signal_right_at_the_start(tmp_path):
    for delay in (0, 0.01, 0.05, 0.2):
        (tmp_path / f"s{delay}").mkdir()
        server = Server(state_dir=tmp_path / f"s{delay}")
        process = subprocess.Popen(server.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=clean_environment(), start_new_session=True)
        server.process = process
        time.sleep(delay)
        server.note_tree()
        process.terminate()
        process.wait(20)
        server.url = None
        server.assert_clean()


def test_restart_keeps_tokens_and_records(fresh_server):
    server = fresh_server()
    token = server.token
    old = server.create({"timeout": "10m", "labels": {"a": "b"}})
    assert server.stop() == 0
    server.assert_clean()
    server.start()
    assert server.token == token, "the token stays"
    (record,) = server.list(**{"labels[a]": "b"})
    assert record["id"] == old.sandbox_id and record["status"] == "stopped" and record["stoppedAt"]
    assert end_reason(server, old.sandbox_id) == "host-restart"
    with pytest.raises(raw.Refused) as refusal:
        server.attach(old.sandbox_id)
    assert refusal.value.json["code"] == "SANDBOX_ALREADY_TERMINATED"
    with server.create() as rpc:
        assert rpc.sh("echo new") == "new\n"


def test_two_servers_on_one_state_folder(fresh_server):
    server = fresh_server()
    rpc = server.create()
    second = subprocess.run(Server(state_dir=server.state_dir).command(), capture_output=True, text=True,
                            timeout=60, env=clean_environment(), stdin=subprocess.DEVNULL)
    assert second.returncode != 0
    assert re.search(f"another server.*{server.state_dir}", second.stderr), second.stderr
    assert "ready" not in second.stdout
    assert rpc.sh("echo first still works") == "first still works\n"
    assert server.status(rpc.sandbox_id) == "running", "the second start must leave the records alone"
    assert server.token and httpx.get(server.env["DENO_DEPLOY_ENDPOINT"] + "/api/v2/sandboxes").status_code == 401


def test_two_servers_on_two_state_folders(fresh_server):
    one, two = fresh_server(), fresh_server()
    with one.create() as a, two.create() as b:
        assert a.sh("echo one") == "one\n" and b.sh("echo two") == "two\n"
        response = httpx.get(two.url + "/api/v2/sandboxes", headers={"Authorization": f"Bearer {one.token}"})
        assert response.status_code == 401, "tokens belong to one server"
        two.kill()
        assert a.sh("echo unharmed") == "unharmed\n"


def test_address_in_use(fresh_server, tmp_path):
    server = fresh_server()
    other = Server(state_dir=tmp_path)
    done = subprocess.run(other.command(f"{server.host}:{server.port}"), capture_output=True, text=True,
                          timeout=60, env=clean_environment(), stdin=subprocess.DEVNULL)
    assert done.returncode != 0 and f"{server.port}" in done.stderr, done
    assert re.search("in use|EADDRINUSE", done.stderr, re.I), done.stderr


def test_listen_line_is_the_only_output(fresh_server):
    server = fresh_server()
    lines = [l for l in server.log_path.read_text().splitlines() if l.startswith("[stdout]")]
    assert lines == [f"[stdout] ready {server.url}"]


def test_processes_and_their_rights(fresh_server):
    server = fresh_server()
    with server.create():
        def status(pid):
            return dict(line.split(":\t", 1) for line in
                        server_module._read(f"/proc/{pid}/status").splitlines() if ":\t" in line)

        warrend = status(server.role("warrend"))
        assert warrend["Uid"].split() != ["0"] * 4 and "0" not in warrend["Uid"].split(), (
            f"warrend gives up root: {warrend['Uid']}")
        assert int(warrend["CapEff"], 16) == 0 and int(warrend["CapPrm"], 16) == 0
        assert warrend["Seccomp"] == "2" or server_module.SANITIZED, "warrend ends under seccomp"
        assert warrend["NoNewPrivs"] == "1"
        keeper = status(server.role("warren-keeper"))
        assert keeper["Uid"].split()[1] == "0" and keeper["Seccomp"] == "2"
        agents = server.agents()
        assert agents, "an agent runs"
        for pid in agents:
            agent = status(pid)
            assert agent["Seccomp"] == "2", agent
            assert "0" not in agent["Uid"].split(), "host root never runs inside a sandbox"
        listening = subprocess.run(["ss", "-Htlnp"], capture_output=True, text=True).stdout
        assert "warren-keeper" not in listening, "the keeper listens nowhere"


def test_files_of_the_state_folder_are_private(fresh_server):
    server = fresh_server()
    with server.create():
        for path in server.state_dir.rglob("*"):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) or stat.S_ISSOCK(mode):
                assert not mode & 0o077 or not b"ddo_" in (path.read_bytes()[:200] if stat.S_ISREG(mode) else b""), (
                    f"{path} holds a token and is open to others: {oct(mode)}")
        token = server.token
        holders = [p for p in server.state_dir.rglob("*")
                   if p.is_file() and p.stat().st_size < 10_000_000 and token.encode() in p.read_bytes()]
        assert holders, "the first token is kept for `warren env`"
        assert all(p.stat().st_mode & 0o777 == 0o600 for p in holders), [
            (p, oct(p.stat().st_mode)) for p in holders]
        assert not [p for p in holders if p.suffix in (".db", ".sqlite", ".sqlite3") or "-wal" in p.name], (
            "the data base holds tokens hashed only")


# --- options ------------------------------------------------------------------------------------


def serve_fails(*args, env=None, timeout=30):
    done = subprocess.run([str(server_module.WARREN), "serve", *args], capture_output=True, text=True,
                          timeout=timeout, env=clean_environment(**(env or {})), stdin=subprocess.DEVNULL)
    assert done.returncode not in (0, None) and done.returncode > 0, f"must fail plainly: {done}"
    assert done.stderr.strip() and "ready" not in done.stdout, done
    assert "Assertion" not in done.stderr and "Sanitizer" not in done.stderr, done.stderr
    return done.stderr


@pytest.mark.parametrize("args,word", [
    (["--nonsense"], "nonsense"), (["--nonsense", "1"], "nonsense"), (["surplus"], "surplus"),
    (["--listen"], "listen"), (["--listen", "nowhere"], "listen"), (["--listen", "127.0.0.1"], "listen"),
    (["--listen", "127.0.0.1:99999"], "listen"), (["--listen", "127.0.0.1:x"], "listen"),
    (["--isolation", "magic"], "isolation"), (["--max-sandboxes", "many"], "max-sandboxes"),
    (["--max-sandboxes", "-1"], "max-sandboxes"), (["--max-lifetime", "forever"], "max-lifetime"),
    (["--max-lifetime", "0s"], "max-lifetime"), (["--regions", ""], "regions"),
    (["--regions", "us-east-1"], "regions"), (["--regions", "ORD"], "regions"),
    (["--regions", "ord,ord"], "regions"), (["--log-level", "loud"], "log-level"),
    (["--state-dir", ""], "state-dir"), (["--pool", "x"], "pool"),
], ids=lambda v: "_".join(v) if isinstance(v, list) else v)
def test_bad_flags(tmp_path, args, word):
    base = [] if "--state-dir" in args else ["--state-dir", str(tmp_path)]
    if "--listen" not in args:
        base += ["--listen", "127.0.0.1:0"]
    assert word in serve_fails(*base, *args)


@pytest.mark.parametrize("name,value,word", [
    ("WARREN_NONSENSE", "1", "NONSENSE"), ("WARREN_MAX_SANDBOXES", "many", "MAX_SANDBOXES"),
    ("WARREN_ISOLATION", "magic", "ISOLATION")])
def test_bad_environment(tmp_path, name, value, word):
    text = serve_fails("--state-dir", str(tmp_path), "--listen", "127.0.0.1:0", env={name: value})
    assert word.lower().replace("_", "-") in text.lower().replace("_", "-"), text


def test_bad_configuration_file(tmp_path):
    file = tmp_path / "w.conf"
    for text, word in (("nonsense = 1\n", "nonsense"), ("max-sandboxes = many\n", "max-sandboxes"),
                       ("max-sandboxes\n", "w.conf"), ("\0\xff[", "w.conf")):
        file.write_text(text, encoding="latin-1")
        message = serve_fails("--config", str(file), "--state-dir", str(tmp_path), "--listen", "127.0.0.1:0")
        assert word in message, message
    assert "missing.conf" in serve_fails("--config", str(tmp_path / "missing.conf"))


def test_flag_environment_and_file_precedence(tmp_path):
    file = tmp_path / "w.conf"
    file.write_text("max-sandboxes = 11\nregions = fra\nmax-lifetime = 1h\n")
    env = clean_environment(WARREN_MAX_SANDBOXES="22", WARREN_REGIONS="ber,muc")
    out = warren("serve", "--config", file, "--max-sandboxes", "33", "--print-config", env=env).stdout
    values = dict(re.findall(r"^([a-z-]+)\s*=\s*(.*)$", out, re.MULTILINE))
    assert values["max-sandboxes"] == "33", "a flag beats the environment"
    assert values["regions"] == "ber,muc", "the environment beats the file"
    assert values["max-lifetime"] in ("1h", "3600s", "60m"), values["max-lifetime"]


def test_equals_form_of_flags():
    out = warren("serve", "--max-sandboxes=44", "--print-config").stdout
    assert re.search(r"^max-sandboxes\s*=\s*44$", out, re.MULTILINE)


@pytest.fixture
def state_dir():
    """A folder that an unprivileged user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="warren-e2e-") as path:
        os.chmod(path, 0o755)
        yield path


@pytest.mark.parametrize("level", ["microvm", "gvisor"])
def test_levels_that_are_not_built_in_say_so(state_dir, level):
    text = serve_fails("--state-dir", state_dir, "--listen", "127.0.0.1:0", "--isolation", level)
    assert level in text and "not built in" in text, text


def test_listening_beyond_loopback_needs_to_be_spelled_out(tmp_path):
    text = serve_fails("--state-dir", str(tmp_path), "--listen", "0.0.0.0:0", "--isolation", "namespace")
    assert "allow-namespace-on-network" in text, text


def test_auto_is_the_namespace_level_here(fresh_server):
    server = fresh_server(isolation="auto")
    with server.create() as rpc:
        assert rpc.sh("echo auto") == "auto\n"
    assert "namespace" in server.tail(), "a level below microvm is announced at start"


def test_unwritable_state_folder(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    assert str(file) in serve_fails("--state-dir", str(file), "--listen", "127.0.0.1:0")


def test_missing_image(state_dir):
    text = serve_fails("--state-dir", state_dir, "--listen", "127.0.0.1:0", "--image-dir", state_dir + "/none")
    assert "image" in text and state_dir + "/none" in text, f"the error must name the folder: {text}"


def test_not_as_root(tmp_path):
    os.chmod(tmp_path, 0o777)
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                           str(server_module.WARREN), "serve", "--state-dir", str(tmp_path), "--listen", "127.0.0.1:0"],
                          capture_output=True, text=True, timeout=30, env=clean_environment())
    assert done.returncode != 0 and "root" in done.stderr, done


# --- commands -----------------------------------------------------------------------------------


def test_warren_env(server):
    env = server.env
    assert set(env) >= {"DENO_DEPLOY_TOKEN", "DENO_SANDBOX_ENDPOINT", "DENO_DEPLOY_ENDPOINT",
                        "DENO_SANDBOX_BASE_DOMAIN"}
    assert env["DENO_SANDBOX_ENDPOINT"] == env["DENO_DEPLOY_ENDPOINT"] == server.url
    assert env["DENO_DEPLOY_TOKEN"].startswith("ddo_")
    shell = subprocess.run(["sh", "-c", f'eval "$({server_module.WARREN} env --state-dir {server.state_dir})" && '
                                        'printf %s "$DENO_DEPLOY_TOKEN"'], capture_output=True, text=True,
                           env=clean_environment())
    assert shell.stdout == env["DENO_DEPLOY_TOKEN"]


def test_warren_env_without_a_server(tmp_path):
    done = warren("env", "--state-dir", tmp_path, check=False)
    assert done.returncode != 0 and str(tmp_path) in done.stderr and not done.stdout, done


def test_warren_env_after_the_server_has_stopped(fresh_server):
    server = fresh_server()
    assert server.stop() == 0
    done = warren("env", "--state-dir", server.state_dir, check=False)
    assert done.returncode != 0 and done.stderr, "no endpoint of a server that is gone"


def test_warren_token(server):
    token, token_id = server.new_token(name="e2e listed", with_id=True)
    assert re.fullmatch(r"ddo_[A-Za-z0-9]{32,}", token)
    out = warren("token", "list", "--state-dir", server.state_dir).stdout
    assert "e2e listed" in out and token not in out, "a list never shows a token"
    warren("token", "revoke", "--state-dir", server.state_dir, token_id)
    again = warren("token", "revoke", "--state-dir", server.state_dir, token_id, check=False)
    assert again.returncode != 0 and again.stderr, "revoking twice says so"
    for bad in ("999999", "x", ""):
        assert warren("token", "revoke", "--state-dir", server.state_dir, bad, check=False).returncode != 0


def test_commands_and_help():
    for args in (["--help"], ["serve", "--help"], ["help"], ["--version"]):
        done = warren(*args, check=False)
        assert done.returncode == 0 and done.stdout.strip(), (args, done)
    for args in ([], ["nonsense"], ["--nonsense"], ["token"], ["token", "nonsense"], ["env", "--nonsense"]):
        done = warren(*args, check=False)
        assert done.returncode != 0 and done.stderr.strip(), (args, done)


# --- kill -9 ------------------------------------------------------------------------------------


def busy(server, stop):
    """A client that creates, works in and leaves sandboxes until told to stop; collects closes."""
    while not stop.is_set():
        try:
            with server.create(random.choice([None, {"timeout": "5m"}])) as rpc:
                rpc.sh("seq 1 20000; echo x > f; sleep 0.05")
        except (raw.Closed, raw.Refused, OSError, EOFError, AssertionError, raw.RpcFailure, raw.RpcProtocolError):
            if server.process.poll() is not None:
                return


@pytest.mark.parametrize("victim", ["warrend", "warren-keeper"])
@pytest.mark.parametrize("round", range(3))
def test_kill_9_of_a_server_process(fresh_server, victim, round):
    """Nothing leaks, clients see an end, and the next start puts the records in order."""
    server = fresh_server("--pool", "1")
    held = [server.create(), server.create({"timeout": "10m"}, python=bool(round))]
    waits = [rpc.request("processWait", {"pid": rpc.spawn("sleep", ["1000"])["pid"]}) for rpc in held]
    assert len(waits) == 2
    stop = threading.Event()
    workers = [threading.Thread(target=busy, args=(server, stop), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    time.sleep(random.uniform(0, 0.5))
    server.note_tree()
    os.kill(server.role(victim), signal.SIGKILL)
    for rpc in held:
        with contextlib.suppress(EOFError):
            rpc.wait_closed()  # a close frame, or at least the end of the connection
    stop.set()
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive(), "a client hangs although the server is gone"
    server.process.wait(20)
    server.url, url = None, server.url
    wait_until(lambda: not [l for l in server.leaks() if l.startswith("process")], 10, "its processes to end")
    server.start()
    assert server.url and url
    reasons = {r["id"]: r for r in server.list()}
    for rpc in held:
        assert reasons[rpc.sandbox_id]["status"] == "stopped"
    for record in reasons.values():
        if record["status"] == "stopped":
            assert record["endReason"] in REASONS, record
            assert record["stoppedAt"]
    assert not [r for r in reasons.values() if r["status"] == "running"]
    with server.create() as rpc:
        assert rpc.sh("echo again") == "again\n"
    assert server.stop() == 0
    server.assert_clean()
    big = [p for p in server.state_dir.rglob("*") if p.is_file() and p.stat().st_size > 5 << 30]
    assert len(big) <= 1, f"disks of dead sandboxes stay behind: {big}"


def test_kill_9_of_an_agent_ends_only_its_sandbox(fresh_server):
    server = fresh_server("--pool", "0", "--prepared", "0")
    neighbour = server.create()
    before = server.agents()
    rpc = server.create({"timeout": "10m"}, python=True)
    wait = rpc.request("processWait", {"pid": rpc.spawn("sleep", ["1000"])["pid"]})
    js = server.attach(rpc.sandbox_id)
    (agent,) = server.agents() - before
    os.kill(agent, signal.SIGKILL)
    answer = rpc.response(wait)
    assert "error" in answer or answer["result"]["ok"]["code"] == 137, answer
    assert rpc.wait_closed() is not None, "a clear close, with a close frame"
    assert js.wait_closed() is not None
    server.wait_stopped(rpc.sandbox_id)
    assert end_reason(server, rpc.sandbox_id) == "crashed"
    assert neighbour.sh("echo alive") == "alive\n"
    with pytest.raises(raw.Refused) as refusal:
        server.attach(rpc.sandbox_id)
    assert refusal.value.json["code"] == "SANDBOX_ALREADY_TERMINATED"


def test_kill_9_of_the_keeper_is_not_survived_half(fresh_server):
    """Without the keeper no sandbox can be ended: the server must end, not linger.

    Only the keeper may remove control groups, so they are there until the next start."""
    server = fresh_server()
    rpc = server.create()
    server.note_tree()
    os.kill(server.role("warren-keeper"), signal.SIGKILL)
    assert rpc.wait_closed() in (1000, 1001, 1011, 1012, None)
    assert server.process.wait(20) != 0, "a server that lost its keeper ends with an error"
    wait_until(lambda: not [l for l in server.leaks() if not l.startswith("control group")],
               10, "processes and mounts to be gone")
    server.start()
    assert server.stop() == 0
    server.assert_clean()


def test_stopped_agent_does_not_block_the_server(fresh_server):
    """A guest that does not answer costs its own clients only."""
    server = fresh_server("--pool", "0", "--prepared", "0")
    rpc = server.create({"timeout": "5m"})
    (agent,) = server.agents()
    neighbour = server.create()
    os.kill(agent, signal.SIGSTOP)
    rpc.request("envGet", {"key": "HOME"})
    rpc.ping()
    rpc.pump(lambda: rpc.pongs == 1, what="pong although the agent sleeps")
    assert neighbour.sh("echo on") == "on\n"
    assert server.delete(rpc.sandbox_id).status_code // 100 == 2
    assert rpc.wait_closed() in (1000, 1001)
    server.wait_stopped(rpc.sandbox_id)


def test_many_short_sandboxes_leave_nothing(fresh_server):
    server = fresh_server("--pool", "2")
    fds = lambda: len(os.listdir(f"/proc/{server.role('warrend')}/fd"))
    keeper_fds = lambda: len(os.listdir(f"/proc/{server.role('warren-keeper')}/fd"))
    with server.create() as rpc:
        rpc.sh("true")
    server.wait_stopped(rpc.sandbox_id)
    first = fds(), keeper_fds()
    for _ in range(25):
        with server.create() as rpc:
            assert rpc.sh("echo x") == "x\n"
    server.wait_stopped(rpc.sandbox_id)
    wait_until(lambda: fds() <= first[0] + 6 and keeper_fds() <= first[1] + 12,
               what=f"descriptors to be given back: {first} at first, now {fds()}, {keeper_fds()}")
    assert json.dumps(server.list()).count('"running"') == 0
