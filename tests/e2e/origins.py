"""Real web servers of the outside world, and what each of them took for a request.

Every origin answers any request with 200 and the header X-Origin, keeps connections, and records method, target, Host, X-Key and
(where the server tells) the length of the body of each request whose head it has read.
"""

import contextlib
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time

from world import _HttpServer

PORTS = (80, 8080, 443)

NGINX = """
daemon off; master_process off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{
  log_format seen escape=json '{{"method":"$request_method","target":"$request_uri","line":"$request","host":"$http_host","key":"$http_x_key","status":"$status"}}';
  access_log {folder}/seen.log seen;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  large_client_header_buffers 8 64k; client_max_body_size 64m; keepalive_requests 10000;
  server {{
    listen {address}:80; listen {address}:8080; listen {address}:443 ssl;
    ssl_certificate {pem}; ssl_certificate_key {pem};
    add_header X-Origin nginx always;
    location / {{ return 200 "ok\\n"; }}
  }}
}}
"""

H2O = """
user: root
num-threads: 1
access-log:
  path: {folder}/seen.log
  format: '{{"method":"%m","target":"%U%q","line":"%r","host":"%V","key":"%{{x-key}}i","status":"%s"}}'
  escape: json
header.add: "X-Origin: h2o"
listen: {{host: {address}, port: 80}}
listen: {{host: {address}, port: 8080}}
listen: {{host: {address}, port: 443, ssl: {{certificate-file: {pem}, key-file: {pem}, ocsp-update-interval: 0}}}}
hosts:
  default:
    paths:
      /:
        mruby.handler: |
          Proc.new {{|env| [200, {{"content-type" => "text/plain"}}, ["ok\\n"]] }}
"""

NODE = """
const http = require('http'), https = require('https'), fs = require('fs');
const [address, pem, log] = process.argv.slice(2);
const out = fs.openSync(log, 'a');
function take(req, res) {
  const seen = {method: req.method, target: req.url, host: req.headers.host ?? '', key: req.headers['x-key'] ?? '', raw: req.rawHeaders.join('\\n'), body: 0};
  let told = false;
  const tell = whole => { if (!told) { told = true; seen.whole = whole; fs.writeSync(out, JSON.stringify(seen) + '\\n'); } };
  req.on('data', d => seen.body += d.length);
  req.on('error', () => tell(false));
  req.on('close', () => tell(false));
  req.on('end', () => { tell(true); res.writeHead(200, {'X-Origin': 'node', 'Content-Length': 3}); res.end('ok\\n'); });
}
let left = 3;
const ready = () => { if (--left === 0) console.log('ready'); };
for (const port of [80, 8080]) http.createServer(take).listen(port, address, ready);
https.createServer({key: fs.readFileSync(pem), cert: fs.readFileSync(pem)}, take).listen(443, address, ready);
"""


class _Lenient(http.server.BaseHTTPRequestHandler):
    """Python's parser, the most lenient of all."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def log_message(self, *_):
        pass

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._take
        raise AttributeError(name)

    def _body(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            n = 0
            while size := int(self.rfile.readline().split(b";")[0], 16):
                n += len(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b"\n", b""):
                pass
            return n
        length = int(self.headers.get("content-length") or 0)
        if len(self.rfile.read(length)) < length:
            raise ValueError("cut short")
        return length

    def _take(self):
        seen = {"method": self.command, "target": self.path, "host": self.headers.get("host", ""),
                "key": self.headers.get("x-key", ""), "raw": str(self.headers), "whole": False}
        self.server.seen.append(seen)
        try:
            seen["body"] = self._body()
            seen["whole"] = True
        except ValueError:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("X-Origin", "python")
        self.send_header("Content-Length", "3")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"ok\n")

    def handle_one_request(self):
        with contextlib.suppress(OSError, ssl.SSLError):
            super().handle_one_request()
            return
        self.close_connection = True


class Origin:
    """A server at an address of the world; seen() is what it saw so far."""

    def __init__(self, world, kind, name):
        self.kind, self.name = kind, name
        self.address = world.names[name]
        self.folder = world.folder / f"origin-{kind}"
        self.folder.mkdir()
        self.pem = world.authority.issue(name, "*." + name)
        self.log = self.folder / "seen.log"
        self.log.touch()
        self.process = None
        self._taken = []
        getattr(self, "_start_" + kind)(world)

    @staticmethod
    def missing(kind):
        """The program that this kind of origin needs and that is not installed, or None."""
        program = {"python": None}.get(kind, kind)
        return program if program and not shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin:/sbin:/bin") else None

    def _spawn(self, *command):
        errors = open(self.folder / "stderr", "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)

    def _start_nginx(self, world):
        config = self.folder / "nginx.conf"
        config.write_text(NGINX.format(folder=self.folder, address=self.address, pem=self.pem))
        self._spawn("/usr/sbin/nginx", "-c", str(config), "-p", str(self.folder), "-e", str(self.folder / "nginx-error.log"))

    def _start_h2o(self, world):
        config = self.folder / "h2o.conf"
        config.write_text(H2O.format(folder=self.folder, address=self.address, pem=self.pem))
        self._spawn("/usr/bin/h2o", "-c", str(config))

    def _start_node(self, world):
        script = self.folder / "origin.js"
        script.write_text(NODE)
        self._spawn("node", str(script), self.address, str(self.pem), str(self.log))

    def _start_python(self, world):
        self._servers = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        for port in PORTS:
            server = _HttpServer((self.address, port), _Lenient)
            server.seen = self._taken
            if port == 443:
                server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self._servers.append(server)

    def listens(self):
        with contextlib.suppress(OSError):
            for port in PORTS:
                socket.create_connection((self.address, port), 1).close()
            return True
        assert not self.process or self.process.poll() is None, (self.folder / "stderr").read_text()
        return False

    def seen(self):
        if self.kind == "python":
            return list(self._taken)
        return [json.loads(line) for line in self.log.read_text(errors="replace").split("\n") if line]

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        else:
            for server in self._servers:
                server.shutdown()
                server.server_close()

    def settle(self):
        """Waits until the record has not grown for a moment: servers write it when a request is over."""
        size = -1
        while size != (size := len(self.seen())):
            time.sleep(0.2)
        return self.seen()
