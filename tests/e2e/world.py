"""The outside world of the gate's tests: servers under test names, their CA, and what they saw.

Names resolve by a hosts file that only the tested server sees (a mount namespace of its own); the servers listen on loopback
addresses of a range of this world's own, which the tested server is told to open. For rules about literal addresses there are two
more, of the ranges for documentation, on the host's loopback interface: inside a sandbox 127.0.0.0/8 is its own.
"""

import base64
import contextlib
import gzip
import http.server
import json
import random
import shutil
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

# Where names lead: the last number of an address of the world's range, or where nobody may go.
NAMES = {
    "api.test": 1,
    "www.api.test": 1,
    "other.test": 2,
    "bare.test": 3,
    "h2.test": 4,
    "badcert.test": 5,
    "git.test": 6,
    "proxied.test": 7,
    "closed.test": 9,
    "nginx.test": 10,
    "node.test": 11,
    "h2o.test": 12,
    "python.test": 13,
    "hostile.test": 14,
    "loopback.test": "127.0.0.1",
    "metadata.test": "169.254.169.254",
    "private.test": "10.1.2.3",
}


MANY = 800  # names m0.many.test, m1.many.test, ... that lead to nobody


def _openssl(*args, cwd):
    subprocess.run(["openssl", *args], cwd=cwd, check=True, capture_output=True, stdin=subprocess.DEVNULL)


class Authority:
    """A CA of the outside world, trusted by the tested server through --extra-ca."""

    def __init__(self, folder, name="Warren test CA"):
        self.folder = Path(folder)
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
                 "-out", "ca.pem", "-days", "30", "-subj", f"/CN={name}", "-addext",
                 "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign", cwd=folder)
        self.pem = self.folder / "ca.pem"

    def issue(self, *names):
        """A file with certificate and key for the names."""
        base = names[0].replace("*", "any")
        (self.folder / f"{base}.ext").write_text(
            "subjectAltName=" + ",".join("DNS:" + n for n in names) + "\nextendedKeyUsage=serverAuth\n")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{base}.key",
                 "-out", f"{base}.csr", "-subj", f"/CN={base}", cwd=self.folder)
        _openssl("x509", "-req", "-in", f"{base}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
                 "-extfile", f"{base}.ext", "-out", f"{base}.crt", cwd=self.folder)
        both = self.folder / f"{base}.pem"
        both.write_text((self.folder / f"{base}.key").read_text() + (self.folder / f"{base}.crt").read_text())
        return both


def forms(value):
    """A secret in each form in which a server may send it back."""
    raw = value.encode()
    quoted = "".join(f"%{b:02x}" for b in raw)
    return {
        "raw": value,
        "percent": urllib.parse.quote(value, safe=""),
        "percent-all": quoted,
        "percent-all-upper": quoted.upper(),
        "base64": base64.b64encode(raw).decode(),
        "base64-1": base64.b64encode(b"x" + raw).decode(),
        "base64-2": base64.b64encode(b"xy" + raw).decode(),
        "base64-basic": base64.b64encode(b"user:" + raw).decode(),
        "base64-url": base64.urlsafe_b64encode(b"\xff\xfe" + raw).decode(),
        "hex": raw.hex(),
        "hex-upper": raw.hex().upper(),
        "json": json.dumps(value),
        "json-all": '"' + "".join(f"\\u{b:04x}" for b in raw) + '"',
    }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _body(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _answer(self, data, status=200, headers=(), length=True):
        data = data if isinstance(data, bytes) else data.encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if length:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_one_request(self):
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            super().handle_one_request()
            return
        self.close_connection = True

    def _handle(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        body = self._body()
        seen = {"server": self.server.label, "method": self.command, "path": self.path, "host": self.headers.get("host"),
                "headers": [(k.lower(), v) for k, v in self.headers.items()], "body": body, "peer": self.client_address,
                "resumed": getattr(self.connection, "session_reused", None)}
        self.server.world.seen.append(seen)
        route = getattr(self, "do_" + url.path.strip("/").replace("-", "_").split("/")[0], None)
        if route:
            route(query, body, seen)
        else:
            self._answer(f"hello from {self.server.label} {self.path}\n", headers=[("Content-Type", "text/plain")])

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = do_TRACE = _handle

    def do_echo(self, query, body, seen):
        """Everything comes back: the attack that scrubbing is for."""
        self._answer(json.dumps({"headers": seen["headers"], "body": body.decode("latin-1"), "path": self.path}),
                     headers=[("Content-Type", "application/json"), ("X-Echo", self.headers.get("authorization", ""))])

    def do_form(self, query, body, seen):
        """The bearer token in one of its forms, encoded or cut up as asked."""
        value = (self.headers.get("x-key") or self.headers.get("authorization", "")).removeprefix("Bearer ")
        data = ("begin " + forms(value)[query.get("f", "raw")] + " end\n").encode()
        if query.get("e") == "gzip":
            self._answer(gzip.compress(data), headers=[("Content-Encoding", "gzip")])
        elif query.get("e") == "br":
            import brotli
            self._answer(brotli.compress(data), headers=[("Content-Encoding", "br")])
        elif query.get("e") == "zstd":
            import zstandard
            self._answer(zstandard.compress(data), headers=[("Content-Encoding", "zstd")])
        elif query.get("e") == "unknown":
            self._answer(data, headers=[("Content-Encoding", "rot13")])
        elif query.get("e") == "chunked":
            step = int(query.get("n", 1))
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(0, len(data), step):
                part = data[i:i + step]
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        elif query.get("e") == "close":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = True
        elif query.get("e") == "header":
            self._answer("see header\n", headers=[("X-Form", data.decode().strip()), ("Set-Cookie", "k=" + value)])
        else:
            self._answer(data)

    def do_redirect(self, query, body, seen):
        self._answer("", 302, [("Location", query.get("to", "/") + "?key=" + self.headers.get("authorization", ""))])

    def do_big(self, query, body, seen):
        self._answer(b"x" * int(query["n"]))

    def do_upload(self, query, body, seen):
        self._answer(f"{len(body)}\n")

    def do_slow(self, query, body, seen):
        """Lines with a pause between them, as servers of events send them."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for i in range(3):
            self.wfile.write(f"data: {i}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.2)
        self.close_connection = True

    def do_status(self, query, body, seen):
        self._answer(b"" if query["c"] in ("204", "304") else b"status\n", int(query["c"]), length=query["c"] not in ("204", "304"))


class _HttpServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


def _serve_h2(world, label, sock):
    import h2.config
    import h2.connection
    import h2.events

    conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    conn.initiate_connection()
    sock.sendall(conn.data_to_send())
    while data := sock.recv(65536):
        for event in conn.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers = [(str(k), str(v)) for k, v in event.headers]
                by_name = dict(headers)
                world.seen.append({"server": label, "method": by_name[":method"], "path": by_name[":path"],
                                   "host": by_name[":authority"], "headers": headers, "body": b"", "peer": None})
                value = by_name.get("authorization", "none")
                conn.send_headers(event.stream_id, [(":status", "200"), ("x-echo", value)])
                for i in range(0, len(value), 5):
                    conn.send_data(event.stream_id, value[i:i + 5].encode())
                conn.send_data(event.stream_id, b"\n", end_stream=True)
            elif isinstance(event, h2.events.DataReceived):
                conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        sock.sendall(conn.data_to_send())


class _HttpServer6(_HttpServer):
    address_family = socket.AF_INET6


class World:
    """All servers; use as a context manager."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="warren-world-"))
        self.authority = Authority(self.folder)
        net, host = random.randrange(64, 128) << 8 | random.randrange(256), random.randrange(1, 255)
        base = f"127.{net >> 8}.{net & 255}"
        self.range = f"{base}.0/24"
        self.names = {n: a if isinstance(a, str) else f"{base}.{a}" for n, a in NAMES.items()}
        self.literal4, self.literal6 = f"198.51.100.{host}", f"2001:db8:77::{host:x}"
        self.names |= {"literal4": self.literal4, "literal6": self.literal6}
        self.hosts = self.folder / "hosts"
        many = {f"m{i}.many.test": f"{base}.9" for i in range(MANY)}
        self.hosts.write_text("127.0.0.1 localhost\n" + "".join(
            f"{a} {n}\n" for n, a in {**self.names, **many}.items() if "." in n))
        self.seen = []
        self.connections = []
        self.ws_keys = []
        self._stack = contextlib.ExitStack()

    # --- servers ---------------------------------------------------------------------------

    def http(self, name, port=80, names=None, alpn=("http/1.1",), cert=None, newest="TLSv1_3", handler=Handler):
        """A web server for name; with TLS when names or cert is given."""
        server = (_HttpServer6 if ":" in self.names[name] else _HttpServer)((self.names[name], port), handler)
        server.world, server.label = self, f"{name}:{port}"
        if names or cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert or self.authority.issue(*names))
            context.set_alpn_protocols(list(alpn))
            context.maximum_version = ssl.TLSVersion[newest]
            plain = server.get_request

            def get_request():
                sock, peer = plain()
                return sock, peer

            server.get_request = get_request
            finish = server.finish_request

            def finish_request(sock, peer):
                try:
                    sock.settimeout(10)
                    with context.wrap_socket(sock, server_side=True) as tls:
                        finish(tls, peer)
                        tls.unwrap()
                except (OSError, ssl.SSLError):
                    pass

            server.finish_request = finish_request
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        return server

    def tcp(self, name, port, handle):
        """A server that gives each connection to handle(sock) in a thread."""
        listener = socket.create_server((self.names[name], port))

        def serve():
            while True:
                try:
                    sock, peer = listener.accept()
                except OSError:
                    return
                self.connections.append((f"{name}:{port}", peer))

                def run(one):
                    with contextlib.suppress(OSError), one:
                        handle(one)

                threading.Thread(target=run, args=(sock,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        self._stack.callback(listener.close)
        self._stack.callback(lambda: listener.shutdown(socket.SHUT_RDWR))
        return listener

    def tls_context(self, *names, alpn=()):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority.issue(*names))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def h2(self, name, port):
        """A server that speaks HTTP/2 only, and sends the authorization back in a header and the body."""
        context = self.tls_context(name, alpn=["h2"])

        def handle(sock):
            sock.settimeout(20)
            with context.wrap_socket(sock, server_side=True) as tls:
                _serve_h2(self, f"{name}:{port}", tls)

        return self.tcp(name, port, handle)

    def websocket(self, name, port):
        """Tells the key of the handshake in one text message, in two fragments, and as binary."""
        import websockets.sync.server

        def handler(ws):
            key = ws.request.headers.get("x-key", "")
            self.ws_keys.append(key)
            ws.recv()
            ws.send("key " + key + " end")
            ws.send(["frag " + key[:7], key[7:] + " end"])
            ws.send(key.encode())
            ws.recv()

        server = websockets.sync.server.serve(handler, self.names[name], port, ssl=self.tls_context(name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._stack.callback(server.shutdown)
        return server

    # --- the tested server's view ----------------------------------------------------------

    @property
    def flags(self):
        return ["--egress-private", f"{self.range},{self.literal4},{self.literal6}", "--extra-ca", str(self.authority.pem)]

    @property
    def wrapper(self):
        """Starts a command where the test names resolve."""
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c",
                f"mount --bind {self.hosts} /etc/hosts && exec \"$0\" \"$@\""]

    def requests(self, **want):
        """What the servers saw, filtered: path=, server=, method=."""
        return [s for s in self.seen if all(s[k] == v for k, v in want.items())]

    def header(self, seen, name):
        return [v for k, v in seen["headers"] if k == name]

    def literals(self):
        """Gives the host the two literal addresses as long as the world exists."""
        for address in (f"{self.literal4}/32", f"{self.literal6}/128"):
            subprocess.run(["ip", "address", "add", address, "dev", "lo", *(["nodad"] if ":" in address else [])], check=True)
            self._stack.callback(subprocess.run, ["ip", "address", "del", address, "dev", "lo"], check=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)
