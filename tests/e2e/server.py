"""Starting the real server for tests, and looking for what it leaves behind."""

import contextlib
import glob
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import httpx

import raw

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("WARREN_BIN_DIR") or ROOT / "build" / "bin").resolve()
WARREN = BIN / "warren"
# Sanitizers need system calls and memory that the filter of warrend refuses: it leaves it off then.
SANITIZED = (BIN / "warrend").exists() and b"__asan_init" in (BIN / "warrend").read_bytes()
START_TIMEOUT = 120
STOP_TIMEOUT = 5  # what the server promises


def clean_environment(**more):
    """Our environment without what would configure a server or a client by accident."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("WARREN_", "DENO_"))}
    if "WARREN_IMAGE_DIR" in os.environ:
        env["WARREN_IMAGE_DIR"] = os.environ["WARREN_IMAGE_DIR"]
    env.update(more)
    return env


def warren(*args, check=True, timeout=60, env=None):
    """Runs one warren command to its end."""
    done = subprocess.run([WARREN, *map(str, args)], text=True, capture_output=True,
                          timeout=timeout, env=env or clean_environment(), stdin=subprocess.DEVNULL)
    if check:
        assert done.returncode == 0, f"warren {shlex.join(map(str, args))}: {done}"
    return done


def wait_until(condition, timeout=raw.HANG, what="the condition", step=0.02):
    """Polls until condition() is truthy and returns it: only for what sends no event."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise raw.Hang(f"waited {timeout:.0f} s for {what}")
        time.sleep(step)


# --- processes -------------------------------------------------------------------------------


def _stat(pid):
    """(name, parent, start time) of a process, or None."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    rest = text[text.rindex(")") + 2 :].split()
    if rest[0] in "ZX":
        return None
    return name, int(rest[1]), int(rest[19])


def all_processes():
    out = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = _stat(int(entry))
            if stat:
                out[int(entry)] = stat
    return out


def tree_of(pid):
    """{pid: (name, parent, start)} of pid and everything below it."""
    everything = all_processes()
    children = {}
    for child, (_, parent, _) in everything.items():
        children.setdefault(parent, []).append(child)
    todo, out = [pid], {}
    while todo:
        one = todo.pop()
        if one in everything:
            out[one] = everything[one]
        todo += children.get(one, [])
    return out


def _read(path):
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def cgroups_of(pid):
    """Folders of the control groups of a process that have "warren" in their path."""
    out = set()
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if "/warren" not in path:
            continue
        for root in glob.glob("/sys/fs/cgroup/*/") + ["/sys/fs/cgroup/"]:
            if os.path.isdir(root + path.lstrip("/")) and (
                set(controllers.split(",")) & set(os.path.basename(root.rstrip("/")).split(","))
                or not controllers
            ):
                out.add(root + path.lstrip("/"))
    return out


class Server:
    """One running `warren serve`."""

    def __init__(self, state_dir=None, flags=(), env=None, isolation="namespace", wrapper=()):
        self.own_state = state_dir is None
        self.shared = False
        self.state_dir = Path(state_dir or tempfile.mkdtemp(prefix="warren-e2e-"))
        os.chmod(self.state_dir, 0o755)
        self.flags = [str(f) for f in flags]
        self.isolation = isolation
        self.wrapper = list(wrapper)  # a command that executes the server
        self.more_env = env or {}
        self.log_path = Path(tempfile.mktemp(prefix="warren-e2e-", suffix=".log"))
        self.process = None
        self.url = None
        self.seen = {}
        self.seen_cgroups = set()
        self._env = None

    # --- life ------------------------------------------------------------------------------

    def command(self, listen="127.0.0.1:0"):
        return [*self.wrapper, str(WARREN), "serve", "--state-dir", str(self.state_dir), "--listen", listen,
                "--isolation", self.isolation, *self.flags]

    def start(self):
        self.log = open(self.log_path, "ab", buffering=0)
        self.process = subprocess.Popen(
            self.command(), stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL,
            env=clean_environment(**self.more_env), start_new_session=True)
        self._env = None
        ready = {}
        found = threading.Event()

        def drain(stream):
            for line in stream:
                self.log.write(b"[stdout] " + line)
                match = re.fullmatch(rb"ready (http://([^/:\s]+):(\d+))\n", line)
                if match and not ready:
                    ready["url"] = match[1].decode()
                    found.set()
            found.set()

        self._drain = threading.Thread(target=drain, args=(self.process.stdout,), daemon=True)
        self._drain.start()
        if not found.wait(START_TIMEOUT) or not ready:
            self.process.kill()
            raise AssertionError(
                f"no line 'ready http://ADDR:PORT' from {shlex.join(self.command())}\n{self.tail()}")
        self.url = ready["url"]
        self.host, self.port = self.url.removeprefix("http://").rsplit(":", 1)
        self.port = int(self.port)
        self.note_tree()
        return self

    def note_tree(self):
        """Remembers the processes and control groups that must be gone later."""
        for pid, (name, _, start) in tree_of(self.process.pid).items():
            self.seen[pid] = (name, start)
            self.seen_cgroups |= cgroups_of(pid)

    def role(self, name):
        """The pid of the server's own process of that name ("warrend", "warren-keeper")."""
        exe = str(BIN / name)
        for pid, (comm, _, _) in tree_of(self.process.pid).items():
            try:
                path = os.readlink(f"/proc/{pid}/exe")
            except OSError:
                continue
            if path == exe and comm == name[:15]:
                return pid
        raise AssertionError(f"no process {name} below {self.process.pid}: "
                             f"{tree_of(self.process.pid)}")

    def agents(self):
        """Host pids of the agents, also of sandboxes that wait in a pool."""
        return {pid for pid in tree_of(self.process.pid)
                if _read(f"/proc/{pid}/cmdline").split("\0")[0] == "warren-agent"}

    def gates(self):
        """Host pids of the gates, not of their mother. Spares of a pool may have some, too: count with --pool 0."""
        tree = tree_of(self.process.pid)
        return {pid for pid, (name, parent, _) in tree.items()
                if name == "warren-gate" and tree.get(parent, ("",))[0] == "warren-gate"}

    def stop(self, sig=signal.SIGTERM, timeout=30):
        """Ends it; returns the exit status."""
        self.note_tree()
        if self.process.poll() is None:
            self.process.send_signal(sig)
        status = self.process.wait(timeout)
        self._drain.join(5)
        self.log.close()
        return status

    def kill(self):
        """Last resort for tests: nothing of it survives."""
        if self.process and self.process.poll() is None:
            self.note_tree()
            self.process.kill()
            self.process.wait(10)

    def tail(self, start=0, limit=8000):
        data = self.log_path.read_bytes()[start:]
        return data[-limit:].decode(errors="replace")

    # --- clients -----------------------------------------------------------------------------

    @property
    def env(self):
        """What `warren env` says, as a dict."""
        if self._env is None:
            out = warren("env", "--state-dir", self.state_dir).stdout
            self._env = {}
            for line in out.splitlines():
                words = shlex.split(line)
                assert len(words) == 2 and words[0] == "export" and "=" in words[1], (
                    f"warren env must print `export NAME=value` lines, got {line!r}")
                name, _, value = words[1].partition("=")
                self._env[name] = value
        return self._env

    @property
    def token(self):
        return self.env["DENO_DEPLOY_TOKEN"]

    def new_token(self, org=None, name=None, expires=None, with_id=False):
        """A token made by the command; with_id: (token, its id)."""
        name = name or "e2e " + label()
        args = ["token", "create", "--state-dir", self.state_dir, "--name", name]
        args += ["--org", org] if org else []
        args += ["--expires", expires] if expires else []
        token = re.search(r"\bddo_\w+", warren(*args).stdout)[0]
        if not with_id:
            return token
        listed = warren("token", "list", "--state-dir", self.state_dir).stdout
        (line,) = [line for line in listed.splitlines() if name in line]
        return token, line.split()[0]

    def http(self, token=...):
        token = self.token if token is ... else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=raw.HANG)

    def create(self, config=None, **how):
        rpc = raw.create(self, config, **how)
        return rpc

    def attach(self, sandbox_id, **how):
        return raw.attach(self, sandbox_id, **how)

    def list(self, **params):
        with self.http() as http:
            return http.get("/api/v2/sandboxes", params=params).raise_for_status().json()

    def status(self, sandbox_id):
        for one in self.list():
            if one["id"] == sandbox_id:
                return one["status"]
        return None

    def wait_stopped(self, sandbox_id):
        wait_until(lambda: self.status(sandbox_id) == "stopped", what=f"{sandbox_id} to be stopped")

    def delete(self, sandbox_id):
        with self.http() as http:
            return http.delete(f"/api/v3/sandbox/{sandbox_id}")

    def discard(self, sandbox_id):
        """Ends a sandbox at the end of its fixture, when the server may have died."""
        with contextlib.suppress(httpx.TransportError):
            self.delete(sandbox_id)

    def records(self):
        """Rows of the table of sandboxes, read from the file of a server that may be running."""
        files = [p for p in self.state_dir.rglob("*") if p.suffix in (".db", ".sqlite", ".sqlite3")]
        assert len(files) == 1, f"one database expected in {self.state_dir}, found {files}"
        with contextlib.closing(sqlite3.connect(f"file:{files[0]}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            tables = [r[0] for r in db.execute("select name from sqlite_master where type='table'")]
            table = next(t for t in tables if t.startswith("sandbox") and "label" not in t)
            return [dict(row) for row in db.execute(f"select * from {table}")]

    # --- what must not be left -----------------------------------------------------------------

    def leaks(self):
        """Everything of this server that still exists, as a list of texts."""
        found = []
        state = str(self.state_dir)
        for pid, (name, _, start) in all_processes().items():
            if self.seen.get(pid) == (name, start) or self.seen.get(pid, (0, 0))[1] == start:
                found.append(f"process {pid} ({name}) of the server's tree")
                continue
            if pid == os.getpid():
                continue
            if state in _read(f"/proc/{pid}/cmdline"):
                found.append(f"process {pid} ({name}) with the state folder in its arguments")
            elif state + "/" in _read(f"/proc/{pid}/mountinfo"):
                found.append(f"process {pid} ({name}) holds a mount namespace with {state}")
        for line in _read("/proc/self/mountinfo").splitlines():
            if state in line:
                found.append(f"mount {line}")
        for group in sorted(self.seen_cgroups):
            if os.path.isdir(group):
                found.append(f"control group {group}")
        for backing in glob.glob("/sys/block/loop*/loop/backing_file"):
            if state in _read(backing):
                found.append(f"loop device {backing}: {_read(backing).strip()}")
        if self.url:
            with contextlib.suppress(OSError):
                socket.create_connection((self.host, self.port), timeout=2).close()
                found.append(f"something still listens on {self.url}")
        return found

    def assert_clean(self):
        """No process, mount, control group, loop device or socket is left.

        The kernel ends processes and drops control groups a moment after the parent has gone."""
        left = []

        def gone():
            left[:] = self.leaks()
            return not left

        try:
            wait_until(gone, 5, "nothing to be left")
        except raw.Hang:
            raise AssertionError("the server left behind:\n  " + "\n  ".join(left) + "\n"
                                 + self.tail()) from None

    def remove(self):
        shutil.rmtree(self.state_dir, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.log_path.unlink()


def label():
    """A label value no other test uses."""
    return secrets.token_hex(6)
