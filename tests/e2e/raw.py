"""A WebSocket and JSON-RPC client at the level of bytes.

It can say what the official clients never say (broken frames, broken JSON, other orders), and it
checks on every message what they silently rely on: see Rpc._check_stream().
"""

import base64
import collections
import hashlib
import itertools
import json
import os
import select
import socket
import struct
import time

HANG = 30.0  # seconds after which a missing answer counts as a hang

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MAX_CHUNK = 65536
PYTHON_AGENT = "Python/3.11 websockets/17.4"
PYTHON_MESSAGE_MAX = 1048576


class Hang(AssertionError):
    """Nothing came in time."""


class Refused(Exception):
    """The upgrade was answered with something else than 101."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        super().__init__(f"upgrade refused: {status} {body!r}")

    @property
    def json(self):
        return json.loads(self.body)


class Closed(Exception):
    """The connection is over. code is None when no close frame came, 1005 when it was empty."""

    def __init__(self, code, reason=""):
        self.code, self.reason = code, reason
        super().__init__(f"closed with {code} {reason!r}")


class RpcFailure(Exception):
    """result.error: the operation failed."""

    def __init__(self, error):
        self.error = error
        super().__init__(json.dumps(error))

    @property
    def cls(self):
        return self.error.get("constructorName")

    @property
    def code(self):
        return self.error.get("code")


class RpcProtocolError(Exception):
    """error: the call itself failed."""

    def __init__(self, error):
        self.error = error
        super().__init__(json.dumps(error))

    @property
    def code(self):
        return self.error.get("code")

    @property
    def issues(self):
        return json.loads(self.error["data"]["message"])


def mask_bytes(data, key):
    if not data:
        return data
    n = len(data)
    pad = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(n, "big")


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, length=None):
    """One frame as bytes. length: announce another length than there is."""
    n = len(payload) if length is None else length
    head = bytearray([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if n < 126:
        head.append(bit | n)
    elif n < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", n)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", n)
    if masked:
        key = os.urandom(4)
        return bytes(head) + key + mask_bytes(payload, key)
    return bytes(head) + payload


class Wire:
    """A TCP connection with reads that never wait for ever."""

    def __init__(self, host, port, timeout=HANG):
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = bytearray()
        self.eof = False

    def send(self, data):
        self.sock.settimeout(HANG)
        self.sock.sendall(data)

    def fill(self, timeout=HANG):
        """Reads once. False at the end of the stream."""
        if self.eof:
            return False
        ready, _, _ = select.select([self.sock], [], [], max(timeout, 0))
        if not ready:
            raise Hang(f"nothing received within {timeout:.0f} s; buffered: {bytes(self.buf[:200])!r}")
        try:
            data = self.sock.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        self.eof = not data
        self.buf += data
        return not self.eof

    def take(self, n, timeout=HANG):
        deadline = time.monotonic() + timeout
        while len(self.buf) < n:
            if not self.fill(deadline - time.monotonic()):
                raise EOFError
        out = bytes(self.buf[:n])
        del self.buf[:n]
        return out

    def take_until(self, mark, timeout=HANG):
        deadline = time.monotonic() + timeout
        while mark not in self.buf:
            if not self.fill(deadline - time.monotonic()):
                raise EOFError
        return self.take(self.buf.index(mark) + len(mark))

    def read_all(self, timeout=HANG):
        """Everything until the peer closes."""
        deadline = time.monotonic() + timeout
        while self.fill(deadline - time.monotonic()):
            pass
        out = bytes(self.buf)
        self.buf.clear()
        return out

    def close(self):
        self.sock.close()

    def reset(self):
        """Ends the connection by a TCP RST, as a killed machine would."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class HttpResponse:
    def __init__(self, status, headers, body, raw_head):
        self.status, self.headers, self.body, self.raw_head = status, headers, body, raw_head

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:300]!r}>"

    @property
    def json(self):
        return json.loads(self.body)


def read_response(wire, timeout=HANG, head_only=False):
    """One HTTP/1.1 response with Content-Length, chunked or nothing."""
    head = wire.take_until(b"\r\n\r\n", timeout).decode("latin-1")
    lines = head.split("\r\n")
    status = int(lines[0].split(" ")[1])
    headers = {}
    for line in lines[1:]:
        if line:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
    if head_only or status in (101, 204, 304) or 100 <= status < 200:
        body = b""
    elif headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while True:
            size = int(wire.take_until(b"\r\n", timeout).split(b";")[0], 16)
            body += wire.take(size, timeout)
            wire.take(2, timeout)
            if size == 0:
                break
    elif "content-length" in headers:
        body = wire.take(int(headers["content-length"]), timeout)
    else:
        body = wire.read_all(timeout)
    return HttpResponse(status, headers, body, head)


def encode_config(config):
    """The value of x-deno-sandbox-config as Python's client writes it."""
    text = config if isinstance(config, (str, bytes)) else json.dumps(config, separators=(",", ":"))
    data = text if isinstance(text, bytes) else text.encode("utf-8")
    return base64.b64encode(data).decode("ascii")


class WebSocket:
    """The client side of one WebSocket, frame by frame."""

    def __init__(self, wire, response=None):
        self.wire = wire
        self.response = response
        self.close_code = None
        self.close_reason = ""
        self.close_sent = False
        self.pongs = collections.deque()
        self._parts = []

    @classmethod
    def connect(cls, host, port, path, headers=(), user_agent=None):
        wire = Wire(host, port)
        key = base64.b64encode(os.urandom(16))
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key.decode()}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        ]
        if user_agent:
            lines.append(f"User-Agent: {user_agent}")
        lines += [f"{k}: {v}" for k, v in headers]
        wire.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        response = read_response(wire)
        if response.status != 101:
            wire.close()
            raise Refused(response.status, response.headers, response.body)
        want = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        got = response.headers.get("sec-websocket-accept")
        assert got == want, f"Sec-WebSocket-Accept must be {want}, got {got}"
        assert "sec-websocket-extensions" not in response.headers, (
            "this client cannot inflate; the server accepted "
            + response.headers["sec-websocket-extensions"]
        )
        return cls(wire, response)

    def send_frame(self, opcode, payload=b"", **how):
        self.wire.send(frame(opcode, payload, **how))

    def send_text(self, text):
        self.send_frame(TEXT, text if isinstance(text, bytes) else text.encode("utf-8"))

    def recv_frame(self, timeout=HANG):
        try:
            b0, b1 = self.wire.take(2, timeout)
            length = b1 & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", self.wire.take(2, timeout))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.wire.take(8, timeout))
            assert not b1 & 0x80, "a server must not mask its frames"
            assert not b0 & 0x70, f"reserved bits set in frame head {b0:#x}"
            payload = self.wire.take(length, timeout)
        except EOFError:
            raise Closed(self.close_code, self.close_reason) from None
        return b0 & 0x0F, bool(b0 & 0x80), payload

    def recv_message(self, timeout=HANG):
        """The next text or binary message as (opcode, bytes). Answers pings; Closed at the end."""
        deadline = time.monotonic() + timeout
        while True:
            opcode, fin, payload = self.recv_frame(deadline - time.monotonic())
            if opcode == PING:
                self.send_frame(PONG, payload)
            elif opcode == PONG:
                self.pongs.append(payload)
                return PONG, payload
            elif opcode == CLOSE:
                self.close_code, self.close_reason = 1005, ""
                if payload:
                    assert len(payload) >= 2, "a close frame needs no or at least two bytes"
                    (self.close_code,) = struct.unpack(">H", payload[:2])
                    self.close_reason = payload[2:].decode("utf-8")
                if not self.close_sent:
                    self.close_sent = True
                    try:
                        self.send_frame(CLOSE, payload[:2])
                    except OSError:
                        pass
                raise Closed(self.close_code, self.close_reason)
            else:
                if opcode:
                    assert not self._parts, "a new message began inside a fragmented one"
                    self._parts = [opcode]
                else:
                    assert self._parts, "continuation without a beginning"
                self._parts.append(payload)
                if fin:
                    message = self._parts[0], b"".join(self._parts[1:])
                    self._parts = []
                    return message

    def wait_closed(self, timeout=HANG):
        """Reads on until the server has closed; returns the code (None: without a close frame)."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.recv_message(deadline - time.monotonic())
            except Closed as closed:
                return closed.code

    def close(self, code=None, reason=b""):
        """Closing handshake from our side; returns the code of the server's close frame."""
        if self.wire.sock.fileno() < 0:
            return self.close_code
        payload = b"" if code is None else struct.pack(">H", code) + reason
        try:
            if not self.close_sent:
                self.close_sent = True
                self.send_frame(CLOSE, payload)
            got = self.wait_closed(10)
        except OSError:
            got = self.close_code
        self.wire.close()
        return got


class Stream:
    """What has arrived for one stream id of the server."""

    def __init__(self, stream_id):
        self.id = stream_id
        self.started = self.ended = self.cancelled = False
        self.error = None
        self.data = bytearray()
        self.chunks = 0

    @property
    def finished(self):
        return self.ended or self.error is not None


Result = collections.namedtuple("Result", "code out err status")


class Rpc:
    """JSON-RPC over one WebSocket; every message that arrives is kept in order in .log."""

    ids_seen = {}  # server stream id -> connection number, over the whole run (protocol 7.1)
    numbers = itertools.count()

    def __init__(self, ws, python=False, keep_log=True):
        self.ws = ws
        self.python = python
        self.number = next(Rpc.numbers)
        self.sandbox_id = ws.response.headers.get("x-deno-sandbox-id") if ws.response else None
        self.trace_id = ws.response.headers.get("x-deno-trace-id") if ws.response else None
        self.log = []
        self.keep_log = keep_log
        self.answers = {}
        self.streams = {}
        self.cancels = {}  # our stream ids that the server has cancelled -> reason
        self.pongs = 0
        self.pings = 0
        self.next_id = 0
        self.next_stream = 1

    # --- sending ---------------------------------------------------------------------------

    def send(self, message):
        self.ws.send_text(json.dumps(message))

    def request(self, method, params=None, id=None):
        """Sends a call and returns its id at once."""
        if id is None:
            id = self.next_id
            self.next_id += 1
        message = {"jsonrpc": "2.0", "id": id, "method": method}
        if params is not None:
            message["params"] = params
        self.send(message)
        return id

    def notify(self, method, params):
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def open_stream(self):
        """Starts a stream of ours and returns its id."""
        stream_id = self.next_stream
        self.next_stream += 1
        self.notify("$sandbox.stream.start", {"streamId": stream_id})
        return stream_id

    def enqueue(self, stream_id, data):
        self.notify("$sandbox.stream.enqueue",
                    {"streamId": stream_id, "data": base64.b64encode(data).decode()})

    def end_stream(self, stream_id):
        self.notify("$sandbox.stream.end", {"streamId": stream_id})

    def send_all(self, data, chunk=MAX_CHUNK):
        """A whole stream; returns its id."""
        stream_id = self.open_stream()
        for at in range(0, len(data), chunk):
            self.enqueue(stream_id, data[at : at + chunk])
        self.end_stream(stream_id)
        return stream_id

    def cancel(self, stream_id, reason=None):
        self.notify("$sandbox.stream.cancel", {"streamId": stream_id, "reason": reason})

    def ping(self):
        self.pings += 1
        self.ws.send_text("ping")

    # --- receiving -------------------------------------------------------------------------

    def pump(self, done, timeout=HANG, what="the expected message"):
        """Receives until done() is true."""
        deadline = time.monotonic() + timeout
        while not done():
            try:
                self.receive(deadline - time.monotonic())
            except Hang as hang:
                raise Hang(f"waited {timeout:.0f} s for {what}; {hang}") from None

    def receive(self, timeout=HANG):
        opcode, data = self.ws.recv_message(timeout)
        if opcode == PONG:
            return None
        assert opcode == TEXT, f"the server must send text messages only, got opcode {opcode}"
        if self.python:
            assert len(data) <= PYTHON_MESSAGE_MAX, f"message of {len(data)} bytes to Python"
        text = data.decode("utf-8")
        if text == "pong":
            self.pongs += 1
            assert self.pongs <= self.pings, "a pong without a ping breaks Python's client"
            if self.keep_log:
                self.log.append("pong")
            return "pong"
        message = json.loads(text)
        assert isinstance(message, dict) and message.get("jsonrpc") == "2.0", text[:300]
        if self.keep_log:
            self.log.append(message)
        if "method" in message:
            assert "id" not in message, f"the server must not send requests: {text[:300]}"
            self._check_stream(message)
        else:
            assert ("result" in message) != ("error" in message), text[:300]
            key = json.dumps(message.get("id"))
            assert key not in self.answers, f"second answer to request {key}: {text[:300]}"
            self.answers[key] = message
        return message

    def _check_stream(self, message):
        """The rules of protocol section 7.3, on every notification of every test."""
        method, params = message["method"], message.get("params")
        stream_id = params["streamId"]
        assert isinstance(stream_id, int) and 0 < stream_id < 2**53, message
        kind = method.removeprefix("$sandbox.stream.")
        if kind == "cancel":
            assert "reason" in params, f"cancel needs a reason or null: {message}"
            self.cancels[stream_id] = params["reason"]
            return
        stream = self.streams.get(stream_id)
        if kind == "start":
            assert stream is None, f"second start for stream {stream_id}"
            owner = Rpc.ids_seen.setdefault(stream_id, self.number)
            assert owner == self.number, f"stream id {stream_id} was used by another connection"
            self.streams[stream_id] = stream = Stream(stream_id)
            stream.started = True
            return
        assert stream is not None, f"{kind} before start for stream {stream_id}"
        assert not stream.finished, f"{kind} after the end of stream {stream_id}"
        if kind == "enqueue":
            assert params["data"], f"empty enqueue for stream {stream_id} crashes the JS client"
            data = base64.b64decode(params["data"], validate=True)
            assert 0 < len(data) <= MAX_CHUNK, f"chunk of {len(data)} bytes"
            if not stream.cancelled:  # what was under way when we cancelled is allowed
                stream.data += data
                stream.chunks += 1
        elif kind == "end":
            stream.ended = True
        elif kind == "error":
            assert "error" in params, message
            stream.error = params["error"] or {"constructorName": None}
        else:
            raise AssertionError(f"unknown notification {method}")

    def response(self, id, timeout=HANG):
        """The whole answer to request id."""
        key = json.dumps(id)
        self.pump(lambda: key in self.answers, timeout, f"the answer to request {key}")
        return self.answers.pop(key)

    def value(self, id, timeout=HANG):
        message = self.response(id, timeout)
        if "error" in message:
            raise RpcProtocolError(message["error"])
        result = message["result"]
        if "error" in result:
            raise RpcFailure(result["error"])
        assert "ok" in result, f"result without ok: {message}"
        return result["ok"]

    def call(self, method, params=None, timeout=HANG):
        return self.value(self.request(method, params), timeout)

    def failure(self, method, params=None):
        """The error object of a call that must fail as an operation."""
        try:
            got = self.call(method, params)
        except RpcFailure as failure:
            return failure
        raise AssertionError(f"{method} {params} must fail, got ok {got!r}")

    def protocol_error(self, method, params=None):
        try:
            got = self.call(method, params)
        except RpcProtocolError as error:
            return error
        except RpcFailure as failure:
            raise AssertionError(
                f"{method} {params} must be a protocol error, got result.error {failure}"
            ) from None
        raise AssertionError(f"{method} {params} must be a protocol error, got ok {got!r}")

    # --- processes -------------------------------------------------------------------------

    def spawn(self, command, args=(), **params):
        params = {"command": command, "args": list(args), "stdout": "piped", "stderr": "piped",
                  **params}
        return self.call("spawn", params)

    def finish(self, child, timeout=HANG):
        """Waits for a spawned process and the end of its output."""
        status = self.value(self.request("processWait", {"pid": child["pid"]}), timeout)
        ids = [child["stdoutStreamId"], child["stderrStreamId"]]
        for stream_id in filter(None, ids):
            self.pump(lambda s=stream_id: s in self.streams and self.streams[s].finished, timeout,
                      f"the end of stream {stream_id}")
        out, err = (bytes(self.streams.pop(s).data) if s else None for s in ids)
        return Result(status["code"], out, err, status)

    def run(self, command, args=(), timeout=HANG, **params):
        return self.finish(self.spawn(command, args, **params), timeout)

    def sh(self, text, check=True, timeout=HANG, **params):
        """bash -c text as user app; its standard output as text."""
        result = self.run("bash", ["-c", text], timeout, **params)
        if check:
            assert result.code == 0, f"{text!r} ended with {result.code}: {result.err!r} {result.out!r}"
        return result.out.decode() if check else result

    def root(self, text, check=True, timeout=HANG, **params):
        """The same as root."""
        result = self.run("sudo", ["bash", "-c", text], timeout, **params)
        if check:
            assert result.code == 0, f"{text!r} ended with {result.code}: {result.err!r} {result.out!r}"
        return result.out.decode() if check else result

    # --- ending ----------------------------------------------------------------------------

    def wait_closed(self, timeout=HANG):
        """Receives (and checks) until the server closes; returns the close code."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.receive(deadline - time.monotonic())
            except Closed as closed:
                return closed.code

    def close(self):
        return self.ws.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        try:
            self.close()
        except (OSError, Closed, Hang):
            pass


def _headers(token, extra):
    headers = list(extra.items()) if isinstance(extra, dict) else list(extra or [])
    if token is not None:
        headers.append(("Authorization", f"Bearer {token}"))
    return headers


def create(server, config=None, token=..., headers=None, python=False, user_agent=None):
    """A new sandbox and its primary connection. config: object, text, bytes or None (no header)."""
    headers = _headers(server.token if token is ... else token, headers)
    if config is not None:
        headers.append(("x-deno-sandbox-config", encode_config(config)))
    agent = user_agent or (PYTHON_AGENT if python else None)
    ws = WebSocket.connect(server.host, server.port, "/api/v3/sandboxes/create", headers, agent)
    return Rpc(ws, python)


def attach(server, sandbox_id, token=..., headers=None, python=False, user_agent=None):
    """A secondary connection."""
    headers = _headers(server.token if token is ... else token, headers)
    agent = user_agent or (PYTHON_AGENT if python else None)
    ws = WebSocket.connect(server.host, server.port, f"/api/v3/sandbox/{sandbox_id}/connect",
                           headers, agent)
    return Rpc(ws, python)
