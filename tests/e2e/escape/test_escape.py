"""What code inside a sandbox may try against everything outside; a neighbour watches.

Each attempt is made as user app and as root of the sandbox, and must fail with the error given here.
"""

import json
import os
import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest

import raw
import server as server_module
from raw import RpcFailure
from server import label, wait_until

PROBE = (Path(__file__).parent / "probe.py").read_text()

NO = {"EPERM"}
CLOSED = {"EPERM", "ENOSYS"}  # closed by the system call filter
ABSENT = {"ENOENT", "ENXIO", "ENODEV", "EPERM", "EACCES"}
DENIED = {"EPERM", "EACCES", "EROFS"}

EXPECTED = {
    r"mount-(proc|sysfs|cgroup2?|debugfs|tracefs|securityfs|bpf|ext4|loop-file|erofs|overlay|fuse|nfs|binfmt|mqueue"
    r"|devpts)": {"EPERM", "EACCES", "ENODEV", "ENOTBLK", "ENOENT"},
    r"remount-.*|bind-over-proc|make-shared|umount-.*|pivot-root": {"EPERM", "EINVAL", "EACCES"},
    r"open-tree-clone|fsopen|fspick|move-mount|mount-setattr": CLOSED,
    r"open-by-handle|quotactl|acct|fanotify": CLOSED, r"swapon": CLOSED,
    r"bpf-.*|perf-event-open|userfaultfd.*|io-uring-.*|keyctl-.*|add-key|request-key": CLOSED,
    r"init-module|finit-module|delete-module|create-module-gone|kexec-.*|reboot|iopl|ioperm": CLOSED,
    r"syslog|settimeofday|clock-settime|adjtimex|lookup-dcookie|nfsservctl|setdomainname|vhangup": CLOSED,
    r"modify-bpf-x32|i386-.*": CLOSED | {"signal 31", "signal 11"},
    r"unshare-.*|clone-.*|clone3-user": CLOSED | {"ENOSPC"}, r"setns-junk": CLOSED | {"EINVAL"},
    r"ptrace-init|ptrace-attach-init|vm-(read|write)-init|pidfd-getfd-init|kcmp-init": CLOSED,
    r"rlimit-of-init": NO | {"ok 0"},  # root may look, and limit what is its own
    r"ptrace-outside|vm-read-outside|kill-outside|pidfd-outside": {"ESRCH", "EINVAL"} | CLOSED,
    r"init-(mem-read|mem-write|environ|maps|exe|exe-open|root|cwd|fd|fd-open|stack|syscall)": {"EPERM", "EACCES"},
    r"init-oom-score|own-oom-score-down": DENIED,
    r"mknod-.*": NO, r"dev-.*": ABSENT,
    r"core-pattern|modprobe-path|hostname-sysctl|ip-forward|drop-caches|sysrq|uevent-helper": DENIED | {"ENOENT"},
    r"cgroup-.*": DENIED | {"ENOENT"},
    r"kcore|kmsg|kpage.*|debugfs|firmware|efivars|sched-debug|keys|timer-list|acpi|scsi":
        DENIED | {"ENOENT", "empty", "ok []", "ok 0"},  # hidden: nothing to read
    r"af-packet|raw-icmp|netfilter": NO | {"EPROTONOSUPPORT", "EAFNOSUPPORT"}, r"af-vsock": {"EPERM", "EACCES", "EAFNOSUPPORT"},
    r"nftables": {"EPERM", "EAFNOSUPPORT", "EPROTONOSUPPORT"},
    r"link-add|lo-down|address-add|route-add": {"EPERM", "EOPNOTSUPP"},
}


def load_names():
    scope = {"__name__": "probe"}
    exec(compile(PROBE, "probe.py", "exec"), scope)
    return list(scope["PROBES"])


NAMES = load_names()


@pytest.fixture(scope="module")
def neighbour(server):
    with server.create({"timeout": "20m", "labels": {"for": "neighbour"}}) as one:
        yield one
    server.discard(one.sandbox_id)


@pytest.fixture(autouse=True)
def watched(neighbour):
    """Before and after each attempt the neighbour answers."""
    assert neighbour.sh("echo before") == "before\n"
    yield
    assert neighbour.sh("echo after") == "after\n"


@pytest.fixture(scope="module")
def results(server):
    """What all probes came to: {"app": {...}, "root": {...}}, each user in a sandbox of its own."""
    out = {}
    for user in ("app", "root"):
        with server.create({"timeout": "10m"}) as rpc:
            rpc.call("writeTextFile", {"path": "/tmp/probe.py", "content": PROBE})
            rpc.sh("truncate -s 1M /tmp/disk.img /tmp/swap; touch /tmp/acct")
            run = rpc.sh if user == "app" else rpc.root
            out[user] = json.loads(run(f"OUTSIDE_PID={os.getpid()} python3 /tmp/probe.py", timeout=60))
            assert rpc.sh("echo alive") == "alive\n", "the probes must not end their own sandbox"
            server.delete(rpc.sandbox_id)
    return out


@pytest.mark.parametrize("user", ["app", "root"])
@pytest.mark.parametrize("name", NAMES)
def test_attempt(results, name, user):
    expected = [want for pattern, want in EXPECTED.items() if re.fullmatch(pattern, name)]
    assert len(expected) == 1, f"{name} needs exactly one expectation"
    got = results[user][name]
    assert got in expected[0], f"{name} as {user}: one of {sorted(expected[0])} expected, got {got}"


@pytest.fixture(scope="module")
def box(server):
    with server.create({"timeout": "20m"}) as one:
        yield one
    server.discard(one.sandbox_id)


@pytest.fixture(params=["app", "root"])
def attacker(request, rpc):
    """(run a shell text as that user, the connection, the user)"""
    return (rpc.sh if request.param == "app" else rpc.root), rpc, request.param


# --- /proc, /sys, init ---------------------------------------------------------------------------


def test_nothing_in_proc_and_sys_can_be_written(attacker):
    run, rpc, user = attacker
    rpc.call("writeTextFile", {"path": f"/tmp/probe-{user}.py", "content": PROBE})
    found = json.loads(run(f"python3 /tmp/probe-{user}.py writable", timeout=60))
    assert not found, f"{user} can open for writing: {found[:20]} ({len(found)} in all)"


def test_kernel_addresses_are_hidden(attacker):
    run, _, _ = attacker
    addresses = set(run("cut -d' ' -f1 /proc/kallsyms 2>/dev/null | sort -u | head -5; true").split())
    assert addresses <= {"0000000000000000"}, addresses


@pytest.mark.parametrize("sig", ["KILL", "TERM", "SEGV", "STOP", "ABRT", "HUP"])
def test_signals_do_not_end_the_agent(attacker, sig):
    run, rpc, _ = attacker
    run(f"kill -{sig} 1; true")
    assert rpc.sh("echo alive") == "alive\n"
    assert rpc.call("envGet", {"key": "HOME"}) == "/home/app"


def test_kill_of_everything_inside_leaves_the_agent(server):
    with server.create() as rpc:
        result = rpc.root("kill -9 -1; echo not reached?", check=False)
        assert result.code in (0, 137), result
        assert rpc.sh("echo alive") == "alive\n"


def test_agent_binary_cannot_be_written_or_replaced(attacker):
    run, rpc, user = attacker
    out = run(r"""
for f in $(awk '$5 ~ /agent/ {print $5}' /proc/self/mountinfo) /warren-agent /sbin/warren-agent /usr/lib/warren/warren-agent \
         /run/warren-agent /.warren-agent /.warren/agent; do
  if [ -e "$f" ]; then
    if (: >> "$f") 2>/dev/null; then echo "written $f"; fi
    if mv "$f" "$f.x" 2>/dev/null; then echo "moved $f"; mv "$f.x" "$f"; fi
    if rm -f "$f" 2>/dev/null && [ ! -e "$f" ]; then echo "removed $f"; fi
  fi
done
if (: >> /proc/1/exe) 2>/dev/null; then echo "written /proc/1/exe"; fi
echo done""")
    assert out == "done\n", out
    assert rpc.sh("echo alive") == "alive\n"


def test_own_debugger_still_works(attacker):
    """ptrace of one's own child is no escape and has to work for debuggers."""
    run, _, _ = attacker
    out = run(r"""python3 - <<'X'
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
pid = os.fork()
if pid == 0:
    libc.ptrace(0, 0, 0, 0); os.kill(os.getpid(), signal.SIGSTOP); os._exit(7)
os.waitpid(pid, 0); libc.ptrace(7, pid, 0, 0); print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
X""")
    assert out == "7\n"


@pytest.mark.parametrize("path", ["/proc/self/mem", "/proc/self/environ", "/proc/1/environ", "/proc/1/mem",
                                  "/proc/self/fd/3", "/proc/self/root/etc/shadow", "/proc/1/root/etc/shadow",
                                  "/proc/thread-self/environ", "/proc/kcore", "/proc/kmsg"])
@pytest.mark.parametrize("method", ["readFile", "writeFile", "readTextFile"])
def test_file_methods_are_no_way_into_the_agent(server, method, path):
    """The methods run for the user: they must give no more than the user's own processes have."""
    with server.create() as rpc:
        params = {"path": path, "abortId": 1}
        if method == "writeFile":
            params["content"] = "AAAA"
        id = rpc.request(method, params)
        rpc.request("abort", {"abortId": 1})
        try:
            value = rpc.value(id)
        except RpcFailure as failure:
            assert failure.cls
        else:
            secret = raw.base64.b64decode(value or "") if method == "readFile" else (value or "").encode()
            assert b"root:" not in secret and b"WARREN" not in secret, secret[:200]
        assert rpc.sh("echo alive") == "alive\n"


# --- other sandboxes and the host ----------------------------------------------------------------


def test_no_process_of_others_is_visible(attacker, neighbour):
    run, _, _ = attacker
    mark = label()
    child = neighbour.spawn("bash", ["-c", f"exec -a {mark} sleep 1000"])
    out = run("ps -eo pid=,args=")
    assert mark not in out and "warrend" not in out and "warren-keeper" not in out, out
    assert len(out.splitlines()) < 30, out
    neighbour.call("processKill", {"pid": child["pid"]})


def test_no_file_of_others_is_visible(attacker, neighbour, server):
    run, _, _ = attacker
    mark = "mark" + label()
    neighbour.sh(f"touch ~/{mark} /tmp/{mark}")
    host = server.state_dir / mark
    host.write_text("host")
    try:
        out = run(f"find / -xdev -name '{mark}' 2>/dev/null; ls {server.state_dir} /var/lib/warren 2>/dev/null; true")
        assert out == "", f"found {out}"
        mounts = run("cat /proc/self/mountinfo")
        assert str(server.state_dir) not in mounts or "upperdir" in mounts, mounts
    finally:
        host.unlink()


def test_root_inside_is_nobody_outside(server, rpc):
    mark = label()
    child = rpc.spawn("sudo", ["bash", "-c", f"exec -a {mark} sleep 1000"])

    def outside():
        return [pid for pid, (name, _, _) in server_module.all_processes().items()
                if mark in server_module._read(f"/proc/{pid}/cmdline") and name == "sleep"]

    (pid,) = wait_until(outside, what="the marked process on the host")
    status = server_module._read(f"/proc/{pid}/status")
    uids = re.search(r"^Uid:\s+(.*)$", status, re.MULTILINE)[1].split()
    assert all(int(u) >= 65536 for u in uids), f"root inside must be an unprivileged uid outside: {uids}"
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE), "the filter holds for every process"
    assert rpc.run("sudo", ["kill", "--", str(child["pid"])]).code in (0, 1)


def test_host_processes_cannot_be_signalled(attacker):
    run, _, _ = attacker
    victim = subprocess.Popen(["sleep", "1000"])
    try:
        out = run(f"for p in {victim.pid} {os.getpid()}; do kill -9 $p 2>&1 | grep -o 'No such process'; done")
        assert out == "No such process\n" * 2, out
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_host_sockets_cannot_be_reached(attacker, tmp_path):
    run, _, _ = attacker
    name = "warren-e2e-" + label()
    touched = threading.Event()
    sockets = []
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + name)
    path = f"/tmp/{name}.sock"
    filesystem = socket.socket(socket.AF_UNIX)
    filesystem.bind(path)
    os.chmod(path, 0o777)
    tcp = socket.socket()
    tcp.bind(("127.0.0.1", 0))
    every = socket.socket()
    every.bind(("0.0.0.0", 0))
    try:
        for one in (abstract, filesystem, tcp, every):
            one.listen()
            sockets.append(one)

            def accept(s=one):
                try:
                    s.accept()
                    touched.set()
                except OSError:
                    pass

            threading.Thread(target=accept, daemon=True).start()
        out = run(f"""python3 - <<'X'
import errno, socket
def attempt(family, address):
    s = socket.socket(family); s.settimeout(10)
    try:
        s.connect(address); print("connected", address)
    except OSError as e:
        print(errno.errorcode.get(e.errno, e))
attempt(socket.AF_UNIX, "\\0{name}")
attempt(socket.AF_UNIX, "{path}")
attempt(socket.AF_INET, ("127.0.0.1", {tcp.getsockname()[1]}))
attempt(socket.AF_INET, ("127.0.0.1", {every.getsockname()[1]}))
X""")
        assert out.split() == ["ECONNREFUSED", "ENOENT", "ECONNREFUSED", "ECONNREFUSED"], out
        assert not touched.is_set()
    finally:
        for one in sockets:
            one.close()
        os.unlink(path)


# --- network -------------------------------------------------------------------------------------

CONNECTS = [("AF_INET", "192.0.2.1", 80), ("AF_INET", "8.8.8.8", 53), ("AF_INET", "10.0.0.1", 22),
            ("AF_INET", "169.254.169.254", 80), ("AF_INET", "172.17.0.1", 2375),
            ("AF_INET6", "2001:db8::1", 443), ("AF_INET6", "fe80::1", 80)]


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
@pytest.mark.parametrize("family,host,port", CONNECTS, ids=[c[1] for c in CONNECTS])
def test_connections_out_fail_at_once(attacker, family, host, port, kind):
    run, _, _ = attacker
    out = run(f"""timeout 10 python3 - <<'X'
import errno, socket
s = socket.socket(socket.{family}, socket.{kind})
try:
    s.connect(("{host}", {port})); s.send(b"x"); s.send(b"x"); print("went out")
except OSError as e:
    print(errno.errorcode[e.errno])
X""")
    if host.startswith("fe80"):  # names no interface
        expected = "EINVAL"
    elif kind == "SOCK_STREAM" or port == 53:  # taken to a gate that is not there
        expected = "ECONNREFUSED"
    else:
        expected = "EPERM"
    assert out.strip() == expected, out


@pytest.mark.parametrize("command", ["getent hosts example.com", "getent ahosts example.invalid",
                                     "curl -sS -o /dev/null http://example.com/",
                                     "curl -sS -o /dev/null https://192.0.2.1/",
                                     "git ls-remote https://example.com/x.git",
                                     "python3 -c 'import urllib.request as u; u.urlopen(\"http://example.com\")'",
                                     "deno eval 'await fetch(\"http://example.com\")'",
                                     "node -e 'fetch(\"http://example.com\").catch(() => process.exit(3))'"],
                         ids=lambda c: c.split()[0] + c.split()[1][:6])
def test_programs_fail_at_once_without_network(rpc, command):
    result = rpc.sh(f"timeout 8 {command}", check=False)
    assert result.code not in (0, 124, 137), f"{command} must fail by itself, not hang or work: {result}"


def test_bad_dns_servers_do_not_make_look_ups_hang(rpc):
    out = rpc.sh("cat /etc/resolv.conf; timeout 8 getent hosts no-such-name.example; echo $?")
    assert out.splitlines()[-1] == "2", out


# --- exhaustion ------------------------------------------------------------------------------------


@pytest.mark.hang(120)
@pytest.mark.parametrize("user", ["app", "root"])
def test_fork_bomb(fresh_server, user):
    server = fresh_server("--pids-max", "300")
    with server.create() as neighbour, server.create({"timeout": "5m"}) as rpc:
        run = rpc.sh if user == "app" else rpc.root
        out = run(r"""python3 - <<'X'
import errno, os, signal, time
pids = []
try:
    while len(pids) < 1000:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        pids.append(pid)
    print("unlimited")
except OSError as e:
    print(errno.errorcode[e.errno], 200 < len(pids) < 300)
for pid in pids: os.kill(pid, 9)
for pid in pids: os.waitpid(pid, 0)
X""", timeout=60)
        assert out == "EAGAIN True\n", out
        bomb = "bash -c 'f() { f | f & }; f' > /dev/null 2>&1 &"
        run(bomb + " true")
        for _ in range(20):
            assert neighbour.sh("echo alive") == "alive\n"
        try:
            rpc.spawn("true")
        except RpcFailure as failure:
            assert failure.code == "EAGAIN", failure
        assert rpc.call("envGet", {"key": "HOME"}) == "/home/app", "the agent itself still answers"
        assert server.delete(rpc.sandbox_id).status_code // 100 == 2
        server.wait_stopped(rpc.sandbox_id)
        assert neighbour.sh("echo alive") == "alive\n"


@pytest.mark.parametrize("user", ["app", "root"])
def test_memory_bomb(server, neighbour, user):
    with server.create({"memory_mb": 768}) as rpc:
        command = ["python3", "-c", "x = []\nwhile True: x.append(bytearray(16 << 20))"]
        if user == "root":
            child = rpc.spawn("sudo", ["bash", "-c", "python3 -c 'x = []\nwhile True: x.append(bytearray(16 << 20))'; "
                                                     "echo status $?"])
        else:
            child = rpc.spawn(command[0], command[1:])
        wait = rpc.request("processWait", {"pid": child["pid"]})
        for _ in range(10):
            assert neighbour.sh("echo alive") == "alive\n"
        status = rpc.value(wait)
        if user == "app":
            assert status["code"] == 137 and status["signal"] == "SIGKILL" and status["success"] is False
            assert status["oom"] in ("high-confidence", "low-confidence"), f"oom must be told: {status}"
        else:
            out = rpc.streams[child["stdoutStreamId"]].data
            assert status["code"] == 137 or b"status 137" in out, (status, out)
        assert rpc.sh("echo alive") == "alive\n", "the sandbox outlives it"
        if user == "app":
            killed = rpc.run("bash", ["-c", "kill -9 $$"]).status
            assert killed["oom"] is None, f"an ordinary SIGKILL is no out-of-memory: {killed}"


def test_memory_bomb_of_many_processes(server, neighbour):
    with server.create({"memory_mb": 768}) as rpc:
        result = rpc.sh("for i in 1 2 3 4 5 6; do python3 -c 'x = bytearray(300 << 20); import time; time.sleep(2)' & done; "
                        "wait; echo over", check=False)
        assert neighbour.sh("echo alive") == "alive\n"
        assert result.code in (0, 137)
        assert rpc.sh("echo alive") == "alive\n"


@pytest.mark.parametrize("path", ["/dev/shm/x", "/run/x", "/dev/x"])
def test_memory_file_systems_count(server, neighbour, path):
    with server.create({"memory_mb": 768}) as rpc:
        result = rpc.root(f"head -c 2G /dev/zero > {path}", check=False)
        assert result.code != 0, f"2 GiB must not fit into {path} of a 768 MiB machine"
        assert neighbour.sh("echo alive") == "alive\n"
        rpc.root(f"rm -f {path}; true", check=False)
        assert rpc.sh("echo alive") == "alive\n"


@pytest.mark.parametrize("user", ["app", "root"])
def test_disk_fill(server, neighbour, user):
    with server.create() as rpc:
        run = rpc.sh if user == "app" else rpc.root
        out = run("cd /home/app; fallocate -l 20G big 2>&1; rm -f big; "
                  "fallocate -l $(( $(df -B1 --output=avail . | tail -1) - 1000000 )) fill && echo filled; "
                  "head -c 5000000 /dev/zero > more 2>&1; df -B1 --output=avail . | tail -1")
        assert "No space left on device" in out and "filled" in out, out
        failure = rpc.failure("writeFile", {"path": "/home/app/x", "content": "A" * (4 << 20)}) if user == "app" else None
        if failure:
            assert failure.code == "ENOSPC", failure
        assert rpc.sh("echo alive") == "alive\n"
        assert neighbour.sh("head -c 1000000 /dev/zero > ~/mine; stat -c %s ~/mine; rm ~/mine") == "1000000\n"
        run("cd /home/app; rm -f fill more")
        assert rpc.sh("echo again > x; cat x") == "again\n"


def test_many_open_files(attacker, neighbour):
    run, rpc, _ = attacker
    out = run(r"""python3 - <<'X'
import errno, os
fds = []
try:
    while len(fds) < 2000000: fds.append(os.open("/dev/null", os.O_RDONLY))
    print("unlimited")
except OSError as e:
    print(errno.errorcode[e.errno])
X""", timeout=60)
    assert out.strip() in ("EMFILE", "ENFILE"), out
    assert neighbour.sh("ls / > /dev/null; echo alive") == "alive\n"


def test_cpu_hog_leaves_room_for_the_neighbour(server, neighbour):
    with server.create() as rpc:
        children = [rpc.spawn("bash", ["-c", "while :; do :; done"]) for _ in range(8)]
        for _ in range(10):
            assert neighbour.sh("echo alive") == "alive\n"
        for child in children:
            rpc.call("processKill", {"pid": child["pid"], "signal": "SIGKILL"})
