// An HTTP server that runs inside the sandbox, for the tests of fetch: prints its port.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import process from "node:process";

const sha = () => createHash("sha256");

function pattern(size) {
  const data = Buffer.alloc(size);
  for (let i = 0; i < size; i++) data[i] = (i * 31 + (i >> 8)) & 255;
  return data;
}

// Requests that break off are part of the tests.
process.on("unhandledRejection", () => {});

let seen = "";

const routes = {
  hello(_url, _req, res) {
    res.setHeader("Content-Type", "text/plain");
    res.end("hello");
  },
  // What came, with the body as a sum.
  async echo(_url, req, res) {
    const hash = sha();
    let length = 0;
    for await (const chunk of req) {
      hash.update(chunk);
      length += chunk.length;
    }
    res.setHeader("Content-Type", "application/json");
    res.end(JSON.stringify({
      method: req.method,
      url: req.url,
      headers: req.rawHeaders,
      length,
      sha: hash.digest("hex"),
    }));
  },
  bytes(url, _req, res) {
    const n = Number(url.searchParams.get("n"));
    res.setHeader("Content-Length", n);
    res.end(pattern(n));
  },
  redirect(url, _req, res) {
    const n = Number(url.searchParams.get("n"));
    res.writeHead(302, { location: n > 1 ? `/redirect?n=${n - 1}` : "/hello" });
    res.end("look elsewhere");
  },
  loop(_url, _req, res) {
    res.writeHead(302, { location: "/loop" });
    res.end();
  },
  elsewhere(url, _req, res) {
    res.writeHead(Number(url.searchParams.get("s")), { location: url.searchParams.get("to") });
    res.end();
  },
  status(url, _req, res) {
    res.writeHead(Number(url.searchParams.get("s")), url.searchParams.get("text") ?? "");
    res.end();
  },
  cookies(_url, _req, res) {
    res.setHeader("Set-Cookie", ["a=1; Path=/", "b=2"]);
    res.setHeader("X-Latin", "caf\u00e9");
    res.setHeader("X-Empty", "");
    res.end(Buffer.from("x")); // a string would make UTF-8 of the head
  },
  hints(_url, _req, res) {
    res.writeEarlyHints({ link: "</style.css>; rel=preload" }, () => res.end("after the hints"));
  },
  never() {},
  // Some of a body, and nothing more.
  drip(_url, _req, res) {
    res.write("first");
  },
  cut(_url, _req, res) {
    res.writeHead(200, { "Content-Length": 100 });
    res.write("only this", () => res.destroy());
  },
  // What has come of the body, now (from another request) and at its end.
  async live(_url, req, res) {
    seen = "";
    for await (const chunk of req) seen += chunk;
    res.end(seen);
  },
  seen(_url, _req, res) {
    res.end(seen);
  },
  long(url, _req, res) {
    res.setHeader("X-Long", "y".repeat(Number(url.searchParams.get("n"))));
    res.end();
  },
};

const server = createServer((req, res) => {
  const url = new URL(req.url, "http://x");
  const route = routes[url.pathname.slice(1)];
  if (route) return route(url, req, res);
  res.writeHead(404);
  res.end();
});

// Answers with the bytes that are the path in base64url.
const raw = createTcpServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", (head) => {
    const path = head.toString("latin1").split(" ")[1].slice(1);
    socket.end(Buffer.from(path, "base64url"));
  });
});

server.listen(0, "127.0.0.1", () => {
  raw.listen(0, "127.0.0.1", () => console.log(server.address().port, raw.address().port));
});
