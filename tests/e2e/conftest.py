"""Fixtures of the end-to-end tests: real servers, with leak checks at their end."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import raw  # noqa: E402
from server import Server, WARREN  # noqa: E402

TEST_TIMEOUT = 60  # seconds after which a test counts as hanging
_servers = []
_log_marks = {}


class TestHang(BaseException):
    """Raised in a test that runs for too long; no `except Exception` swallows it."""


def pytest_configure(config):
    config.addinivalue_line("markers", "hang(seconds): this test may take that long")
    config.addinivalue_line("markers", "slow: takes more than a few seconds")


def pytest_sessionstart(session):
    if not WARREN.exists():
        raise pytest.UsageError(f"{WARREN} does not exist: build first (make)")
    if os.geteuid() != 0:
        raise pytest.UsageError("these tests start the server and need root")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    for server in _servers:
        with contextlib.suppress(OSError):
            _log_marks[server] = server.log_path.stat().st_size
    return (yield)


@contextlib.contextmanager
def _limit(item):
    """Ends a hanging phase of a test: the alarm interrupts every wait of the main thread."""
    marker = item.get_closest_marker("hang")
    seconds = marker.args[0] if marker else TEST_TIMEOUT

    def ring(_signal, _frame):
        raise TestHang(f"{item.nodeid} did not end within {seconds} s")

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    with _limit(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    for server in _servers:
        if server.shared and server.process.poll() is not None:
            pytest.fail(f"the server has ended by itself with {server.process.returncode}", False)
    with _limit(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for server in _servers:
            with contextlib.suppress(OSError):
                text = server.tail(_log_marks.get(server, 0))
                if text:
                    report.sections.append((f"log of {server.url}", text))
    return report


@contextlib.contextmanager
def running(**how):
    """A server that is stopped, and checked for leaks, at the end of the block."""
    server = Server(**how)
    _servers.append(server)
    try:
        server.start()
        yield server
        assert not server.shared or server.process.poll() is None, (
            f"the server has ended by itself with {server.process.returncode}\n{server.tail()}")
        if server.process.poll() is None:
            status = server.stop()
            assert status == 0, f"SIGTERM must end the server with 0, got {status}\n{server.tail()}"
        server.assert_clean()
    finally:
        server.kill()
        if server in _servers:
            _servers.remove(server)
        if server.own_state:
            server.remove()


@pytest.fixture(scope="session")
def server():
    """The server that most tests share."""
    with running(flags=["--log-level", "debug"]) as one:
        one.shared = True
        yield one


@pytest.fixture
def fresh_server():
    """A factory of servers for tests that kill, fill or reconfigure theirs."""
    with contextlib.ExitStack() as stack:
        yield lambda *flags, **how: stack.enter_context(running(flags=flags, **how))


@pytest.fixture(scope="module")
def box(server):
    """One sandbox for all cheap tests of a file: its primary connection."""
    with server.create({"timeout": "20m", "labels": {"for": "module"}}) as rpc:
        yield rpc
    server.discard(rpc.sandbox_id)


@pytest.fixture
def rpc(server, box):
    """A new connection to the file's sandbox."""
    with server.attach(box.sandbox_id) as one:
        yield one


@pytest.fixture
def here(rpc, request):
    """An empty folder in the sandbox, another for each test."""
    path = "/tmp/t" + raw.hashlib.sha1(request.node.nodeid.encode()).hexdigest()[:12]
    rpc.call("mkdir", {"path": path, "options": {"recursive": True}})
    return path


@pytest.fixture
def client_env(server, monkeypatch):
    """The environment in which the official clients find the shared server."""
    for name in list(os.environ):
        if name.startswith("DENO_"):
            monkeypatch.delenv(name)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return server
