"""Frames, messages and closing handshakes, also malformed ones."""

import json
import os
import struct

import pytest

import raw
from raw import BINARY, CLOSE, PING, PONG, TEXT, Closed, frame

CALL = b'{"jsonrpc":"2.0","id":%d,"method":"envGet","params":{"key":"HOME"}}'


@pytest.fixture(autouse=True)
def neighbour(server, box):
    """Whatever a test does to its connection, another one keeps working."""
    with server.attach(box.sandbox_id) as other:
        yield other
        assert other.call("envGet", {"key": "HOME"}) == "/home/app"
        assert other.sh("echo alive") == "alive\n"


def answered(rpc, id):
    assert rpc.value(id) == "/home/app"


# --- accepted ----------------------------------------------------------------------------------


def test_binary_message_is_accepted(rpc):
    rpc.ws.send_frame(BINARY, CALL % 1)
    answered(rpc, 1)  # and answered in text: Rpc.receive() insists


@pytest.mark.parametrize("pieces", [2, 3, 17, len(CALL % 2)])
def test_fragmented_message(rpc, pieces):
    data = CALL % 2
    size = -(-len(data) // pieces)
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    for n, part in enumerate(parts):
        rpc.ws.send_frame(0 if n else TEXT, part, fin=n == len(parts) - 1)
    answered(rpc, 2)


def test_empty_fragments_and_control_frames_between(rpc):
    data = CALL % 3
    rpc.ws.send_frame(TEXT, b"", fin=False)
    rpc.ws.send_frame(PING, b"within")
    rpc.ws.send_frame(0, data[:20], fin=False)
    rpc.ws.send_frame(PONG, b"unasked pongs are allowed")
    rpc.ws.send_frame(0, b"", fin=False)
    rpc.ws.send_frame(0, data[20:])
    answered(rpc, 3)
    assert list(rpc.ws.pongs) == [b"within"]


def test_utf8_split_over_fragments(rpc):
    data = '{"jsonrpc":"2.0","id":"☃😀","method":"envGet","params":{"key":"HOME"}}'.encode()
    for n, byte in enumerate(data):
        rpc.ws.send_frame(0 if n else TEXT, bytes([byte]), fin=n == len(data) - 1)
    answered(rpc, "☃😀")


def test_message_in_single_bytes_on_the_wire(rpc):
    for byte in frame(TEXT, CALL % 4):
        rpc.ws.wire.send(bytes([byte]))
    answered(rpc, 4)


def test_many_messages_in_one_write(rpc):
    rpc.ws.wire.send(b"".join(frame(TEXT, CALL % n) for n in range(100, 300)))
    for n in range(100, 300):
        answered(rpc, n)


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(125))], ids=len)
def test_ping_is_answered_with_its_payload(rpc, payload):
    rpc.ws.send_frame(PING, payload)
    rpc.pump(lambda: rpc.ws.pongs, what="pong")
    assert rpc.ws.pongs.popleft() == payload


def test_text_ping_in_a_binary_message_or_fragmented(rpc):
    rpc.pings += 1
    rpc.ws.send_frame(TEXT, b"pi", fin=False)
    rpc.ws.send_frame(0, b"ng")
    rpc.pump(lambda: rpc.pongs == 1, what="pong")


def test_large_message(rpc, here):
    """writeFile(bytes) of JS is one message: 24 MiB of file are 32 MiB of base64."""
    data = os.urandom(24 << 20)
    import base64, hashlib
    rpc.call("writeFile", {"path": here + "/big", "content": base64.b64encode(data).decode()})
    assert rpc.sh(f"sha256sum < {here}/big")[:64] == hashlib.sha256(data).hexdigest()


# --- closing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code,reason,want", [
    (None, b"", 1005), (1000, b"", 1000), (1001, b"bye", 1001), (3000, b"", 3000),
    (4321, "grüße".encode(), 4321), (1000, b"r" * 123, 1000),
], ids=str)
def test_close_is_answered(server, box, code, reason, want):
    rpc = server.attach(box.sandbox_id)
    payload = b"" if code is None else struct.pack(">H", code) + reason
    rpc.ws.close_sent = True
    rpc.ws.send_frame(CLOSE, payload)
    assert rpc.wait_closed() in (want, 1000), "the close frame is answered"
    assert rpc.ws.wire.read_all() == b"", "and the server ends the TCP connection"


@pytest.mark.parametrize("payload", [
    b"\x03", struct.pack(">H", 999), struct.pack(">H", 1004), struct.pack(">H", 1005),
    struct.pack(">H", 1006), struct.pack(">H", 1015), struct.pack(">H", 2999),
    struct.pack(">H", 5000), struct.pack(">H", 0), struct.pack(">H", 65535),
], ids=lambda p: p.hex())
def test_invalid_close_frame_is_a_protocol_error(rpc, payload):
    rpc.ws.close_sent = True
    rpc.ws.send_frame(CLOSE, payload)
    assert rpc.wait_closed() == 1002


def test_close_reason_that_is_not_utf8(rpc):
    rpc.ws.close_sent = True
    rpc.ws.send_frame(CLOSE, struct.pack(">H", 1000) + b"\xff\xfe")
    assert rpc.wait_closed() in (1007, 1002)


def test_nothing_is_read_after_a_close_frame(rpc):
    rpc.ws.close_sent = True
    rpc.ws.wire.send(frame(CLOSE) + frame(TEXT, CALL % 1))
    rpc.wait_closed()
    assert not rpc.answers


# --- broken frames -----------------------------------------------------------------------------

BROKEN_FRAMES = {
    "unmasked": frame(TEXT, CALL % 1, masked=False),
    "rsv1-without-extension": frame(TEXT, CALL % 1, rsv=4),
    "rsv2": frame(TEXT, CALL % 1, rsv=2),
    "rsv3": frame(TEXT, CALL % 1, rsv=1),
    "opcode-3": frame(3, b"x"),
    "opcode-7": frame(7, b"x"),
    "opcode-11": frame(11, b"x"),
    "opcode-15": frame(15, b"x"),
    "fragmented-ping": frame(PING, b"x", fin=False),
    "fragmented-close": frame(CLOSE, b"", fin=False),
    "long-ping": frame(PING, b"x" * 126),
    "long-close": frame(CLOSE, struct.pack(">H", 1000) + b"x" * 200),
    "continuation-of-nothing": frame(0, b"x"),
    "text-inside-fragmented": frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
    "binary-inside-fragmented": frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"),
    "length-with-top-bit": bytes([0x81, 0xFF]) + struct.pack(">Q", 1 << 63) + b"mask",
}


@pytest.mark.parametrize("name", BROKEN_FRAMES)
def test_broken_frames_close_with_1002(rpc, name):
    rpc.ws.wire.send(BROKEN_FRAMES[name])
    assert rpc.wait_closed() == 1002
    assert rpc.ws.wire.read_all() == b""


INVALID_TEXTS = {
    "lone-continuation": b'"\x80"', "overlong": b'"\xc0\xaf"', "surrogate": b'"\xed\xa0\x80"',
    "beyond-unicode": b'"\xf4\x90\x80\x80"', "cut": b'"\xe2\x98', "latin-1": b'"\xfc"',
    "five-bytes": b'"\xf8\x88\x80\x80\x80"',
}


@pytest.mark.parametrize("name", INVALID_TEXTS)
def test_text_that_is_not_utf8_closes_with_1007(rpc, name):
    rpc.ws.send_frame(TEXT, INVALID_TEXTS[name])
    assert rpc.wait_closed() == 1007


def test_text_that_is_not_utf8_over_fragments(rpc):
    rpc.ws.send_frame(TEXT, b'"\xe2', fin=False)
    rpc.ws.send_frame(0, b'\x28\xa1"')
    assert rpc.wait_closed() == 1007


@pytest.mark.parametrize("length", [161 << 20, 1 << 32, (1 << 63) - 1])
def test_too_large_a_message_closes_with_1009(rpc, length):
    """Announced is enough: nobody has to send 160 MiB to be told."""
    rpc.ws.wire.send(frame(TEXT, b"begin", length=length))
    assert rpc.wait_closed() == 1009


def test_too_large_a_fragmented_message_closes_with_1009(rpc):
    rpc.ws.send_frame(TEXT, b"begin", fin=False)
    rpc.ws.wire.send(frame(0, b"more", fin=False, length=(160 << 20) - 2))
    assert rpc.wait_closed() == 1009


# --- broken JSON -------------------------------------------------------------------------------


def closed_or_error(rpc, codes, closes):
    """A text that is no request: an error answer or the end of this connection, nothing else."""
    try:
        message = rpc.receive()
    except Closed as closed:
        assert closed.code in closes, f"close code {closed.code}, expected one of {closes}"
        return
    assert message["error"]["code"] in codes, message


BROKEN_JSON = {
    "empty": b"", "word": b"hello", "half": b'{"jsonrpc":"2.0","id":1', "trailing": CALL % 1 + b"x",
    "two": CALL % 1 + CALL % 2, "single-quotes": b"{'a':1}", "nan": b'{"id":NaN}',
    "comment": b"/* */ 5", "nul": b"\0", "Ping": b"Ping", "ping-blank": b"ping ",
    "trailing-comma": b'{"a":1,}', "lone-surrogate-escape-cut": b'{"a":"\\ud800',
    "deep-arrays": b"[" * 100000, "deep-objects": b'{"a":' * 50000,
    "control-in-string": b'{"a":"\x01"}',
}


@pytest.mark.parametrize("name", BROKEN_JSON)
def test_broken_json(rpc, name):
    rpc.ws.send_text(BROKEN_JSON[name])
    closed_or_error(rpc, (-32700,), (4000, 1002, 1003, 1007))


NOT_RPC = {
    "number": b"5", "string": b'"x"', "null": b"null", "true": b"true", "array": b"[]",
    "empty-object": b"{}", "no-method": b'{"jsonrpc":"2.0"}',
    "method-number": b'{"jsonrpc":"2.0","id":1,"method":5}',
    "method-null": b'{"jsonrpc":"2.0","id":1,"method":null}',
    "id-object": b'{"jsonrpc":"2.0","id":{},"method":"envGet","params":{"key":"A"}}',
    "id-array": b'{"jsonrpc":"2.0","id":[1],"method":"envGet","params":{"key":"A"}}',
    "id-bool": b'{"jsonrpc":"2.0","id":true,"method":"envGet","params":{"key":"A"}}',
    "batch": b"[" + CALL % 1 + b"," + CALL % 2 + b"]",
}


@pytest.mark.parametrize("name", NOT_RPC)
def test_json_that_is_no_request(rpc, name):
    rpc.ws.send_text(NOT_RPC[name])
    closed_or_error(rpc, (-32600,), (4001,))


def test_answers_from_the_client_are_ignored(rpc):
    rpc.ws.send_text(b'{"jsonrpc":"2.0","id":77,"result":{"ok":1}}')
    rpc.ws.send_text(b'{"jsonrpc":"2.0","id":78,"error":{"code":1,"message":"x"}}')
    rpc.ws.send_text(CALL % 79)
    answered(rpc, 79)


def test_long_strings_and_many_keys(rpc):
    many = {f"k{n}": n for n in range(20000)}
    rpc.send({"jsonrpc": "2.0", "id": 1, "method": "envGet",
              "params": {"key": "HOME", "junk": "j" * (4 << 20), "many": many}})
    answered(rpc, 1)
    assert rpc.call("envGet", {"key": "K" * 100000}) is None


def test_duplicate_and_escaped_keys(rpc):
    rpc.ws.send_text(b'{"jsonrpc":"2.0","\\u0069d":9,"meth\\u006fd":"env\\u0047et",'
                     b'"params":{"k\\u0065y":"HOME"}}')
    answered(rpc, 9)


MALFORMED_STREAMS = [
    {"method": "$sandbox.stream.start"},
    {"method": "$sandbox.stream.start", "params": {}},
    {"method": "$sandbox.stream.start", "params": {"streamId": "1"}},
    {"method": "$sandbox.stream.start", "params": {"streamId": -1}},
    {"method": "$sandbox.stream.start", "params": {"streamId": 1e300}},
    {"method": "$sandbox.stream.start", "params": {"streamId": 1.5}},
    {"method": "$sandbox.stream.enqueue", "params": {"streamId": 1}},
    {"method": "$sandbox.stream.enqueue", "params": {"streamId": 1, "data": 5}},
    {"method": "$sandbox.stream.enqueue", "params": {"streamId": 1, "data": "***"}},
    {"method": "$sandbox.stream.enqueue", "params": {"streamId": 1, "data": "aGk"}},
    {"method": "$sandbox.stream.end", "params": []},
    {"method": "$sandbox.stream.cancel", "params": {"streamId": None}},
    {"method": "$sandbox.stream.error", "params": {"streamId": 1, "error": 5}},
    {"method": "$sandbox.stream.explode", "params": {"streamId": 1}},
]


@pytest.mark.parametrize("message", MALFORMED_STREAMS, ids=json.dumps)
def test_malformed_stream_messages_harm_nobody(rpc, message):
    """Ignored, or the end of this one connection."""
    rpc.open_stream()
    rpc.send({"jsonrpc": "2.0", **message})
    try:
        answered(rpc, rpc.request("envGet", {"key": "HOME"}))
    except Closed as closed:
        assert closed.code in (4001, 1002, 1003, 1007, 1008), closed


def test_invalid_base64_in_stdin_does_not_corrupt_it(rpc):
    """Bad data must not reach the process as something else: the child sees a prefix at most."""
    stdin = rpc.open_stream()
    child = rpc.spawn("cat", stdinStreamId=stdin)
    rpc.enqueue(stdin, b"good")
    rpc.notify("$sandbox.stream.enqueue", {"streamId": stdin, "data": "@@@@"})
    rpc.end_stream(stdin)
    try:
        assert rpc.finish(child).out == b"good"
    except Closed as closed:
        assert closed.code in (4001, 1002, 1003, 1007, 1008), closed


def test_second_start_of_a_stream_id(rpc):
    stdin = rpc.open_stream()
    rpc.enqueue(stdin, b"first")
    rpc.notify("$sandbox.stream.start", {"streamId": stdin})
    try:
        answered(rpc, rpc.request("envGet", {"key": "HOME"}))
    except Closed as closed:
        assert closed.code in (4001, 1002, 1008), closed


def test_thousands_of_streams_that_nobody_uses(rpc):
    for n in range(3000):
        rpc.notify("$sandbox.stream.start", {"streamId": 10000 + n})
        rpc.notify("$sandbox.stream.enqueue", {"streamId": 10000 + n, "data": "aGk="})
    try:
        answered(rpc, rpc.request("envGet", {"key": "HOME"}))
    except Closed as closed:
        assert closed.code in (1008, 1009, 1013, 4001), closed


# --- connections that go away ------------------------------------------------------------------


@pytest.mark.parametrize("when", ["mid-head", "mid-frame", "mid-message", "idle"])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_connections_that_just_end(server, box, when, how):
    rpc = server.attach(box.sandbox_id)
    data = {"mid-head": frame(TEXT, CALL % 1)[:1], "mid-frame": frame(TEXT, CALL % 1)[:-5],
            "mid-message": frame(TEXT, (CALL % 1)[:9], fin=False), "idle": b""}[when]
    if data:
        rpc.ws.wire.send(data)
    if how == "rst":
        rpc.ws.wire.reset()
    else:
        rpc.ws.wire.close()


def test_half_closed_connection_still_gets_its_answer_or_the_end(rpc):
    rpc.ws.wire.send(frame(TEXT, CALL % 1))
    rpc.ws.wire.sock.shutdown(raw.socket.SHUT_WR)
    try:
        answered(rpc, 1)
    except (Closed, EOFError):
        pass
    rpc.wait_closed()
