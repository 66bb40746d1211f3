"""The value of a secret is nowhere in the daemon's memory once the sandbox runs."""

import base64
import os
import re
import secrets
import time

import pytest

import raw
from test_rest import refused


# A sanitizer's map of which bytes may be touched: terabytes, and none of the program's bytes.
SHADOW = 1 << 36


def readable(pid):
    """Ranges of memory of a process that can be read."""
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            span, rights, *rest = line.split()
            start, end = [int(part, 16) for part in span.split("-")]
            if end - start > SHADOW:
                continue
            if rights[0] == "r" and rest[-1] not in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                yield start, end


def find(pid, needles):
    """Where the needles stand in the memory of a process: [(needle's index, address), ...]."""
    found = []
    longest = max(map(len, needles))
    pattern = re.compile(b"|".join(map(re.escape, needles)))
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for start, end in readable(pid):
            tail = b""
            at = start
            while at < end:
                try:
                    data = os.pread(fd, min(1 << 20, end - at), at)
                except OSError:  # unmapped meanwhile, or never backed
                    break
                if not data:
                    break
                text = tail + data
                found += [(needles.index(m[0]), hex(at - len(tail) + m.start()))
                          for m in pattern.finditer(text)]
                tail = text[-longest:]
                at += len(data)
    finally:
        os.close(fd)
    return found


PIECE = 20


def pieces(text):
    """Parts of a text: memory that was freed and used again may hold only some of it."""
    return [text[at:at + PIECE] for at in range(0, len(text) - PIECE + 1, PIECE)]


def forms(value, header):
    """The value as it is, and the part of the header that can only stem from it, in pieces."""
    text = value.encode()
    inside = [base64.b64encode(b"\0" * shift + text)[4:-4] for shift in range(3)]
    inside = [one for one in inside if one.decode() in header]
    assert inside, "the header must hold the value"
    return [piece for one in (text, *inside) for piece in pieces(one)[:50]]


def config(value, **more):
    return {"secrets": {"API_KEY": {"hosts": ["api.example"], "value": value}}, **more}


def fresh(size=60):
    return "sk-" + secrets.token_hex(size)


def assert_gone(server, needles):
    """Within a second: the last copy goes when the answer has been sent."""
    pid = server.role("warrend")
    deadline = time.monotonic() + 1
    found = find(pid, needles)
    while found and time.monotonic() < deadline:
        found = find(pid, needles)
    assert not found, f"found in the memory of warrend: {found}"


def test_search_finds_what_is_there():
    """The search itself works: this process holds what it looks for."""
    needle = fresh().encode()
    assert find(os.getpid(), [needle])


@pytest.mark.parametrize("more", [
    {"allow_net": ["api.example"]}, {}, {"allow_net": ["api.example"], "env": {"A": "x" * 60000}},
    {"labels": {"long": "y" * 128}, "allow_net": ["a-name-longer-than-any.example"] * 40}],
    ids=["gate", "no-gate", "large", "long-strings"])
def test_after_create(server, more):
    value = fresh()
    with server.create(config(value, **more)) as rpc:
        needles = forms(value, raw.encode_config(config(value, **more)))
        assert rpc.call("envGet", {"key": "API_KEY"}).startswith("DENO_SECRET_PLACEHOLDER_")
        assert_gone(server, needles)
    server.discard(rpc.sandbox_id)
    assert_gone(server, needles)


def test_large_value(server):
    """Large blocks stay as they are for a long time after they were freed."""
    value = fresh(8190)
    wanted = config(value, allow_net=["api.example"])
    with server.create(wanted) as rpc:
        assert rpc.call("envGet", {"key": "API_KEY"}).startswith("DENO_SECRET_PLACEHOLDER_")
        assert_gone(server, forms(value, raw.encode_config(wanted)))


@pytest.mark.parametrize("more", [{"allow_net": ["a:b"]}, {"region": "nowhere"},
                                  {"env": {"API_KEY": "1"}}], ids=str)
def test_after_a_refusal(server, more):
    value = fresh()
    refusal = refused(server, config(value, **more))
    assert refusal.status == 400 and value not in refusal.body.decode()
    assert_gone(server, forms(value, raw.encode_config(config(value, **more))))


def test_head_in_pieces(server):
    """A head that comes slowly is moved about in the buffer while it grows."""
    value = fresh()
    header = raw.encode_config(config(value, allow_net=["api.example"], env={"A": "x" * 20000}))
    needles = forms(value, header)
    wire = raw.Wire(server.host, server.port)
    head = (f"GET /api/v3/sandboxes/create HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.token}"
            f"\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n"
            f"sec-websocket-key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            f"x-deno-sandbox-config: {header}\r\n\r\n").encode()
    for at in range(0, len(head), 1000):
        wire.send(head[at:at + 1000])
        time.sleep(0.002)
    assert wire.take_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101")
    assert_gone(server, needles)
    wire.close()


def test_client_that_leaves_in_the_middle(server):
    value = fresh()
    header = raw.encode_config(config(value))
    wire = raw.Wire(server.host, server.port)
    wire.send(f"GET /api/v3/sandboxes/create HTTP/1.1\r\nhost: x\r\nx-deno-sandbox-config: {header}".encode())
    time.sleep(0.05)
    wire.reset()
    assert_gone(server, forms(value, header))
