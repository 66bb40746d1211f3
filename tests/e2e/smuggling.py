"""Requests on which two parsers may disagree, a strict reader of RFC 9112 as the judge, and a mutator for more of them.

In a case HOST stands for the name of its connection, ID for its number and KEY for a placeholder. What is meant as a request of its own asks
for /first-ID, /behind-ID; what is meant as part of another request's head or body asks for /smuggled-ID. Whether it really is part of
it is not the case's claim to make: read_strictly() says which requests there are.
"""

import random
import re

# --- the corpus ----------------------------------------------------------------------------------

SMUGGLED = b"GET /smuggled-ID HTTP/1.1\r\nHost: HOST\r\nX-Key: KEY\r\n\r\n"
FOREIGN = b"GET /smuggled-ID HTTP/1.1\r\nHost: evil.test\r\nX-Key: KEY\r\n\r\n"
BEHIND = b"GET /behind-ID HTTP/1.1\r\nHost: HOST\r\nX-Key: KEY\r\n\r\n"


def post(headers, body=b"", line=b"POST /first-ID HTTP/1.1", host=b"Host: HOST\r\n", end=b"\r\n"):
    return line + b"\r\n" + host + b"X-Key: KEY\r\n" + headers + end + body


def get(headers=b"", line=b"GET /first-ID HTTP/1.1", host=b"Host: HOST\r\n"):
    return post(headers, line=line, host=host)


def chunked(*chunks):
    return b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"


def _lengths():
    """Content-Length in forms that some read as a number, with a request where the body is for those who do not."""
    n = b"%d" % len(SMUGGLED)
    for value in [b"+" + n, b"-" + n, b"0x" + b"%x" % len(SMUGGLED), b"000" + n, n + b".0", n + b" ", n + b", " + n, n + b"," + n, b"0, " + n, n + b" 0",
                  n + b";", b"\t" + n, b"\x0b" + n, n + b"\x00", b"'" + n + b"'", b'"' + n + b'"', b"", b" ", b"1e2", b"9" * 30, b"18446744073709551616",
                  b"9223372036854775808", b"4294967296", b"\xc2\xb2", b"1_0", n + b"\xa0"]:
        yield b"Content-Length: " + value + b"\r\n"
    for name in [b"Content-Length ", b"Content-Length\t", b" Content-Length", b"Content_Length", b"content-length", b"Content-Length\x00", b"Content\x00-Length",
                 b"\x0bContent-Length", b"Content-Length\xa0", b"\xef\xbb\xbfContent-Length", b"Content-Lengt\xe8", b"X: y\rContent-Length", b"X: y\nContent-Length",
                 b"X: y\n\rContent-Length", b"X:\r\n Content-Length", b"Connection: Content-Length\r\nContent-Length"]:
        yield name + b": " + n + b"\r\n"
    yield b"Content-Length:" + n + b"\r\nContent-Length:" + n + b"\r\n"
    yield b"Content-Length: 0\r\nContent-Length: " + n + b"\r\n"
    yield b"Content-Length: " + n + b"\r\nContent-Length: 0\r\n"
    yield b"Content-Length:\r\n " + n + b"\r\n"
    yield b"Content-Length: 1\r\n\t" + n + b"\r\n"
    yield b"Content-Length: " + n + b"\n"
    yield b"Content-Length: " + n + b"\r"


ENCODINGS = [
    b"Transfer-Encoding: chunked", b"transfer-encoding:chunked", b"Transfer-Encoding: Chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked",
    b" Transfer-Encoding: chunked", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: chunked\x0c", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked", b'Transfer-Encoding: "chunked"', b"Transfer-Encoding: 'chunked'", b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding:",
    b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: chunked,", b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding:\n chunked", b"Transfer-Encoding: chun\x00ked",
    b"Transfer-Encoding\x00: chunked", b"Transfer_Encoding: chunked", b"Transfer-Encoding: \xe7hunked", b"X: y\rTransfer-Encoding: chunked", b"X: y\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\n", b"Transfer-Encoding: chunked\r", b"Transfer-Encoding; chunked", b"Transfer-Encoding chunked", b"TE: chunked", b"Transfer-Encodin\xc4\xa7: chunked",
    b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chu\tnked", b"Transfer-Encoding: \xa0chunked", b"Content-Encoding: chunked",
]


def _encodings():
    for header in ENCODINGS:
        # For who reads chunks the second request is outside the body, or inside; the length says the contrary.
        hidden = b"0\r\n\r\n" + SMUGGLED
        yield post(header + b"\r\nContent-Length: %d\r\n" % len(hidden), hidden)
        yield post(b"Content-Length: 3\r\n" + header + b"\r\n", chunked(SMUGGLED))
        yield post(header + b"\r\n", chunked(SMUGGLED))
        yield post(header + b"\r\n", chunked(b"abc"))
        yield post(header + b"\r\n", chunked(b"abc"), line=b"POST /first-ID HTTP/1.0")


def _chunks():
    """Chunk framing; each is the body of a request with Transfer-Encoding: chunked."""
    s, n = SMUGGLED, b"%x" % len(SMUGGLED)
    one = n + b"\r\n" + s + b"\r\n0\r\n\r\n"
    yield one
    for size in [b"+" + n, b"-" + n, b"0x" + n, b"00000" + n, b"0" * 40 + n, n + b" ", b" " + n, n + b"\t", n + b";ext", n + b";a=b;c", n + b' ;a="x"', n + b";\x00", n + b";a\nb",
                 n + b";a\rb", n + b";" + b"x" * 5000, n + b";a=\"\r\n\"", n.upper(), n + b"g", b"", b"_" + n, n + b"\x00", n + b";\xff", n + b",", n + b"h", b"f" * 15, b"f" * 16,
                 b"1" + b"0" * 16, b"8000000000000000", b"ffffffffffffff9d", b"100000000" + n.rjust(8, b"0"), b"-1", b"0" + n + b"; " + n]:
        yield size + b"\r\n" + s + b"\r\n0\r\n\r\n"
    for end in [b"\n", b"\r", b"\r\r\n", b"\n\r", b"", b"  ", b"\r\n\r\n", b"\x0b\n"]:
        yield n + end + s + b"\r\n0\r\n\r\n"
        yield n + b"\r\n" + s + end + b"0\r\n\r\n"
        yield n + b"\r\n" + s + b"\r\n0" + end + b"\r\n"
        yield n + b"\r\n" + s + b"\r\n0\r\n" + end
        yield b"3\r\nabc\r\n0" + end + s
    for last in [b"00\r\n\r\n", b"000000\r\n\r\n", b"0;x\r\n\r\n", b"0 \r\n\r\n", b"-0\r\n\r\n", b"+0\r\n\r\n", b"0x0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\nHost: evil.test\r\n\r\n",
                 b"0\r\nContent-Length: 50\r\n\r\n", b"0\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\nX-Key: KEY\r\n\r\n", b"0\r\nX y\r\n\r\n", b"0\r\n X: y\r\n\r\n",
                 b"0\r\nX: y\r\n z\r\n\r\n", b"0\r\nX: y\n\r\n", b"0\r\nX: y\r\r\n", b"0\r\n: y\r\n\r\n", b"0\r\nX\x00: y\r\n\r\n", b"0\r\nGET /smuggled-ID HTTP/1.1\r\nHost: HOST\r\n\r\n",
                 b"0\r\nA: b\r\n" * 3 + b"\r\n", b"0\r\n" + b"X: y\r\n" * 3000 + b"\r\n", b"0\r\n\r\n\r\n", b"0\r\n\n"]:
        yield b"3\r\nabc\r\n" + last
    yield b"2\r\nabc\r\n0\r\n\r\n" + s
    yield b"4\r\nabc\r\n0\r\n\r\n" + s
    yield s


LINES = [
    b"GET  /first-ID HTTP/1.1", b"GET /first-ID  HTTP/1.1", b" GET /first-ID HTTP/1.1", b"GET\t/first-ID\tHTTP/1.1", b"GET /first-ID HTTP/1.1 ", b"GET /first-ID HTTP/1.1\t",
    b"GET /first-ID", b"GET /first-ID HTTP/0.9", b"GET /first-ID HTTP/1.0", b"GET /first-ID HTTP/1.2", b"GET /first-ID HTTP/2.0", b"GET /first-ID HTTP/2", b"GET /first-ID http/1.1",
    b"GET /first-ID HTTP/1.10", b"GET /first-ID HTTP/01.1", b"GET /first-ID HTTP/+1.1", b"GET /first-ID HTTP/1,1", b"GET /first-ID HTTP /1.1", b"GET /first-ID HTTPS/1.1",
    b"GET /first-ID HTTP/1.1\x00", b"GET /first-ID\x00 HTTP/1.1", b"GET /first-ID\xff HTTP/1.1", b"GET /first-ID#x HTTP/1.1", b"GET /first-ID\x0bHTTP/1.1", b"GET\x0c/first-ID HTTP/1.1",
    b"GET\xa0/first-ID\xa0HTTP/1.1", b"\x1cGET /first-ID HTTP/1.1", b"\tGET /first-ID HTTP/1.1", b"\x0bGET /first-ID HTTP/1.1", b"\xa0GET /first-ID HTTP/1.1", b"\x85GET /first-ID HTTP/1.1",
    b"\x00GET /first-ID HTTP/1.1", b"\xef\xbb\xbfGET /first-ID HTTP/1.1", b"\r\nGET /first-ID HTTP/1.1", b"\nGET /first-ID HTTP/1.1", b"\rGET /first-ID HTTP/1.1", b"\r\n\r\n\r\nGET /first-ID HTTP/1.1",
    b"\r\n GET /first-ID HTTP/1.1", b"get /first-ID HTTP/1.1", b"Get /first-ID HTTP/1.1", b"G!T /first-ID HTTP/1.1", b"G:T /first-ID HTTP/1.1", b'"GET /first-ID HTTP/1.1', b"G\x00ET /first-ID HTTP/1.1",
    b"(GET) /first-ID HTTP/1.1", b"G\xc9T /first-ID HTTP/1.1", b"@ /first-ID HTTP/1.1", b"A" * 40 + b" /first-ID HTTP/1.1", b"A" * 33 + b" /first-ID HTTP/1.1", b"A" * 20000 + b" /first-ID HTTP/1.1",
    b"GET /first-ID?" + b"a" * 20000 + b" HTTP/1.1", b"GET /first-ID?" + b"a" * 70000 + b" HTTP/1.1", b"GET first-ID HTTP/1.1", b"GET  HTTP/1.1", b"GET * HTTP/1.1", b"OPTIONS * HTTP/1.1",
    b"GET http://HOST/first-ID HTTP/1.1", b"GET http://evil.test/smuggled-ID HTTP/1.1", b"GET https://HOST/first-ID HTTP/1.1", b"GET HTTP://HOST/first-ID HTTP/1.1", b"GET http:/first-ID HTTP/1.1",
    b"GET http:///smuggled-ID HTTP/1.1", b"GET http://HOST HTTP/1.1", b"GET http://HOST?/smuggled-ID HTTP/1.1", b"GET http://HOST@evil.test/smuggled-ID HTTP/1.1", b"GET http://evil.test@HOST/smuggled-ID HTTP/1.1",
    b"GET http://HOST:80/first-ID HTTP/1.1", b"GET http://HOST:81/smuggled-ID HTTP/1.1", b"GET http://HOST.:80/first-ID HTTP/1.1", b"GET http://HOST\\@evil.test/smuggled-ID HTTP/1.1", b"GET ftp://HOST/smuggled-ID HTTP/1.1",
    b"GET //evil.test/smuggled-ID HTTP/1.1", b"GET /\\evil.test/smuggled-ID HTTP/1.1", b"GET @evil.test/smuggled-ID HTTP/1.1", b"GET evil.test:80 HTTP/1.1", b"GET http://[::1]/smuggled-ID HTTP/1.1",
    b"GET http://HOST%2eevil.test/smuggled-ID HTTP/1.1", b"GET http://HOST,evil.test/smuggled-ID HTTP/1.1", b"CONNECT evil.test:443 HTTP/1.1", b"CONNECT HOST:80 HTTP/1.1", b"CONNECT / HTTP/1.1",
    b"TRACE /first-ID HTTP/1.1", b"TRACK /first-ID HTTP/1.1", b"HEAD /first-ID HTTP/1.1", b"PRI * HTTP/2.0", b"DELETE /first-ID HTTP/1.1", b"PUT /first-ID HTTP/1.1", b"FOO /first-ID HTTP/1.1",
    b"GET /smuggled-ID HTTP/1.1 HTTP/1.1", b"GET /smuggled-ID HTTP/1.1\rX: y", b"GET /%00/first-ID HTTP/1.1", b"GET /first-ID%0d%0aX:%20y HTTP/1.1", b"GET /first-ID|<>\"{} HTTP/1.1", b"FOO", b"HELP x y",
]

HOSTS = [
    b"", b"Host:\r\n", b"Host: \r\n", b"Host: evil.test\r\n", b"Host: HOST\r\nHost: evil.test\r\n", b"Host: evil.test\r\nHost: HOST\r\n", b"Host: HOST\r\nHost: HOST\r\n", b"Host: HOST, evil.test\r\n",
    b"Host: HOST evil.test\r\n", b"Host: HOST.\r\n", b"Host: HOST..\r\n", b"Host: .HOST\r\n", b"Host: HOST:80\r\n", b"Host: HOST:081\r\n", b"Host: HOST:\r\n", b"Host: HOST:81\r\n", b"Host: HOST:80:81\r\n",
    b"Host: HOST:evil.test\r\n", b"Host: HOST:80@evil.test\r\n", b"Host: user@HOST\r\n", b"Host: HOST@evil.test\r\n", b"Host: evil.test#HOST\r\n", b"Host: HOST/evil\r\n", b"Host: HOST\\evil.test\r\n",
    b"Host: HOST?evil.test\r\n", b"Host: http://HOST/\r\n", b"Host: [HOST]\r\n", b"Host: 127.0.0.1\r\n", b"Host: [::1]\r\n", b"Host: HO%53T\r\n", b"Host : HOST\r\n", b"Host\t: evil.test\r\nHost: HOST\r\n",
    b" Host: evil.test\r\nHost: HOST\r\n", b"Host: HOST\r\n evil.test\r\n", b"Host:\r\n HOST\r\n", b"host: HOST\r\nHOST: evil.test\r\n", b"Host: HOST\x00evil.test\r\n", b"Host: HOST\xff\r\n", b"Host: HOST\x0b\r\n",
    b"Host: HOST\nHost: evil.test\r\n", b"Host: HOST\rHost: evil.test\r\n", b"X: y\nHost: evil.test\r\nHost: HOST\r\n", b"Host;evil.test\r\nHost: HOST\r\n", b"Host\x00: evil.test\r\nHost: HOST\r\n", b"H\xf6st: evil.test\r\nHost: HOST\r\n",
    b"Host: HOST\r\nX-Forwarded-Host: evil.test\r\nX-Host: evil.test\r\nForwarded: host=evil.test\r\nX-Original-URL: /smuggled-ID\r\nX-Rewrite-URL: /smuggled-ID\r\n",
    b"Host: HOST\r\n:authority: evil.test\r\n", b"Host: HOST\r\n: x\r\n", b"Connection: Host\r\nHost: HOST\r\n", b"Connection: close, Host\r\nHost: HOST\r\n", b"Host: \xa0HOST\r\n",
]

HEADERS = [
    b"Expect: 100-continue\r\nContent-Length: 3\r\n", b"Expect: 100-continue\r\n", b"Expect: 100-continue, x\r\nContent-Length: 3\r\n", b"Expect: 200-ok\r\nContent-Length: 3\r\n", b"Expect:\r\n 100-continue\r\nContent-Length: 3\r\n",
    b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 3\r\n", b"Expect: y 100-continue\r\nContent-Length: 3\r\n", b"Connection: Expect\r\nExpect: 100-continue\r\nContent-Length: 3\r\n",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\nSec-WebSocket-Key: x\r\n", b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 3\r\n",
    b"Connection: close\r\n", b"Connection: close\r\nConnection: keep-alive\r\n", b"Connection: keep-alive, close\r\n", b"Connection: closed\r\n", b"Connection: x, Content-Length\r\nContent-Length: 3\r\n", b"Connection: X-Key\r\n",
    b"Connection: close\x00\r\n", b"Keep-Alive: timeout=0\r\n", b"Proxy-Connection: close\r\n", b"Connection: \x0bclose\r\n", b"X: " + b"a" * 20000 + b"\r\n", b"X: " + b"a" * 70000 + b"\r\n", b"A" * 20000 + b": x\r\n",
    b"X: y\r\n" * 99, b"X: y\r\n" * 200, b"X: a\x00b\r\n", b"X: a\xffb\r\n", b"X: a\x7fb\r\n", b"X\xff: y\r\n", b"X(y): z\r\n", b"X y: z\r\n", b"X\r\n", b": y\r\n", b"X: y\r\n z\r\n", b"X: y\r\n\tz\r\n", b" X: y\r\n", b"X: y\n",
    b"X: y\r", b"X: y\r\r\n", b"X: y\n\n", b"X: y\n\nGET /smuggled-ID HTTP/1.1\nHost: HOST\n", b"X: y\n\r\nGET /smuggled-ID HTTP/1.1\r\nHost: HOST\r\n", b"X: y\r\rGET /smuggled-ID HTTP/1.1\r\rHost: HOST\r\n", b"\rX: y\r\n", b"\x00\r\n",
    b"X:\x00\r\n", b"X: \xe5\x98\x8a\xe5\x98\x8dGET /smuggled-ID HTTP/1.1\r\n", b"TE: trailers, chunked\r\n", b"Trailer: Host\r\n", b"Max-Forwards: 0\r\n", b"Range: bytes=0-1\r\n", b"Content-Type: multipart/byteranges\r\n",
    b"X-HTTP-Method-Override: DELETE\r\n", b"Proxy-Authorization: KEY\r\n", b"Content-Length: 3\r\nX: \r\n", b"X: y\x85z\r\n",
]


def corpus():
    """All cases as bytes, in a fixed order."""
    n = len(SMUGGLED)
    yield get() + BEHIND
    yield post(b"Content-Length: %d\r\n" % n, SMUGGLED) + BEHIND
    yield post(b"Transfer-Encoding: chunked\r\n", chunked(SMUGGLED, b"x")) + BEHIND
    yield get(b"Content-Length: %d\r\n" % n) + SMUGGLED + BEHIND
    yield get(b"Transfer-Encoding: chunked\r\n") + chunked(SMUGGLED) + BEHIND
    yield get() + FOREIGN + BEHIND
    yield get() + b"\r\n" + BEHIND
    yield get() + b"\x00" + BEHIND
    yield get() + b" " + BEHIND
    yield get(line=b"HEAD /first-ID HTTP/1.1", headers=b"Content-Length: %d\r\n" % n) + SMUGGLED + BEHIND
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + get() + BEHIND
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" + SMUGGLED
    yield post(b"Content-Length: 50\r\n", b"short")
    yield post(b"Content-Length: %d\r\n" % (n - 1), SMUGGLED) + BEHIND
    yield post(b"Content-Length: %d\r\n" % (n + 1), SMUGGLED) + BEHIND
    yield get(b"", line=b"GET /first-ID HTTP/1.1")[:-2]
    yield get(b"", line=b"GET /first-ID HTTP/1.1")[:-1] + BEHIND
    yield get().replace(b"\r\n", b"\n") + BEHIND
    yield get().replace(b"\r\n", b"\r") + BEHIND
    yield get() + BEHIND * 20
    yield post(b"Expect: 100-continue\r\nContent-Length: %d\r\n" % n) + SMUGGLED + BEHIND
    for headers in _lengths():
        yield post(headers, SMUGGLED) + BEHIND
        yield get(headers) + FOREIGN + BEHIND
    for case in _encodings():
        yield case + BEHIND
    for body in _chunks():
        yield post(b"Transfer-Encoding: chunked\r\n", body) + BEHIND
    for line in LINES:
        yield get(line=line) + BEHIND
        yield get(line=line, host=b"Host: evil.test\r\n") + FOREIGN
    for host in HOSTS:
        yield get(host=host) + BEHIND
        yield get(host=host, line=b"GET /first-ID HTTP/1.0") + BEHIND
        yield get(host=host, line=b"GET http://HOST/first-ID HTTP/1.1") + BEHIND
    for headers in HEADERS:
        yield post(headers, b"abc") + BEHIND
        yield get(headers) + SMUGGLED + BEHIND


# --- the mutator ------------------------------------------------------------------------------------

PIECES = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\xa0", b"\xff", b":", b",", b";", b"0", b"+", b"-", b"0x", b"chunked", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
          b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Host: evil.test\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"HTTP/1.0", b"HTTP/1.1", b"0\r\n\r\n", b"5\r\nhello\r\n",
          b"Expect: 100-continue\r\n", SMUGGLED, FOREIGN]


def mutate(rng, cases):
    """One case made of others."""
    data = rng.choice(cases)
    if len(data) > 4000:
        data = data[:1000]
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        at = rng.randrange(len(data) + 1)
        marks = [m.start() for m in re.finditer(rb"[\r\n:, /]|Content|Transfer|HTTP", data)]
        if marks and rng.random() < 0.7:
            at = min(len(data), rng.choice(marks) + rng.choice((0, 0, 1)))
        what = rng.randrange(7)
        if what <= 1:
            data = data[:at] + rng.choice(PIECES) + data[at:]
        elif what == 2:
            data = data[:at] + data[at + rng.choice((1, 1, 2, 8)):]
        elif what == 3:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1:]
        elif what == 4:
            lines = data.split(b"\r\n")
            i, k = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i], lines[k] = lines[k], lines[i]
            data = b"\r\n".join(lines)
        elif what == 5:
            other = rng.choice(cases)[:2000]
            data = data[:at] + other[rng.randrange(len(other)):]
        else:
            lines = data.split(b"\r\n")
            i = rng.randrange(len(lines))
            data = b"\r\n".join(lines[:i + 1] + lines[i:])
    return data or b"\r\n"


def mutations(seed, count):
    rng = random.Random(seed)
    cases = list(corpus())
    return [mutate(rng, cases) for _ in range(count)]


def fill(case, number, host, key):
    return case.replace(b"HOST", host.encode()).replace(b"ID", b"%d" % number).replace(b"KEY", key.encode())


# --- the judge ---------------------------------------------------------------------------------------

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*([\x20-\x7e\x80-\xff\t]*)")
SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\x20-\x7e\x80-\xff\t]*)?")


def _fields(lines):
    out = []
    for line in lines:
        match = FIELD.fullmatch(line)
        if not match:
            return None
        out.append((match[1].lower(), match[2].strip(b" \t")))
    return out


def _chunked(data):
    """(length of the body, what is behind it), None in place of the latter when it is malformed or not whole."""
    total = 0
    while True:
        line, crlf, rest = data.partition(b"\r\n")
        match = SIZE.fullmatch(line)
        if not crlf or not match:
            return total, None
        size = int(match[1], 16)
        if size == 0:
            break
        if rest[size:size + 2] != b"\r\n":
            return total, None
        total, data = total + size, rest[size + 2:]
    while True:
        line, crlf, rest = rest.partition(b"\r\n")
        if not crlf or (line and _fields([line]) is None):
            return total, None
        if not line:
            return total, rest


def _take_body(fields, minor, rest):
    """(length or None for a malformed one, what is behind it or None)."""
    lengths = [v for n, v in fields if n == b"content-length"]
    encodings = [v for n, v in fields if n == b"transfer-encoding"]
    if encodings:
        if lengths or minor == b"0" or len(encodings) > 1 or encodings[0].lower() != b"chunked":
            return None, None
        return _chunked(rest)
    if not lengths:
        return 0, rest
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]+", lengths[0]) or int(lengths[0]) >= 1 << 63:
        return None, None
    length = int(lengths[0])
    return length, rest[length:] if len(rest) >= length else None


def read_strictly(data):
    """The requests in data by the letter of RFC 9112: (method, target without scheme and authority, length of the body or None)."""
    found = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        first = LINE.fullmatch(lines[0])
        fields = _fields(lines[1:])
        if not end or not first or fields is None:
            break
        length, rest = _take_body(fields, first[3], rest)
        if length is None:
            break
        target = re.sub(rb"^https?://[^/?]+(?=/)", b"", first[2], flags=re.I)
        found.append((first[1].decode(), target.decode(), length if rest is not None else None))
        tokens = [t.strip(b" \t").lower() for n, v in fields if n == b"connection" for t in v.split(b",")]
        if rest is None or b"close" in tokens or (first[3] == b"0" and b"keep-alive" not in tokens):
            break
        data = rest
    return found


# --- answers ------------------------------------------------------------------------------------------

POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"


def answers():
    """What a hostile host says to the first of two requests; CLOSE at the end: and closes."""
    ok, n = b"HTTP/1.1 200 OK\r\n", b"%d" % len(POISON)
    te, end = b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"
    yield ok + b"Content-Length: 5\r\n\r\nfirst"
    yield ok + te + b"\r\n5\r\nfirst\r\n" + end
    for headers in [te + b"Content-Length: 5\r\n", b"Content-Length: 5\r\n" + te, b"Content-Length: 5\r\nContent-Length: " + n + b"\r\n", b"Content-Length: 5, " + n + b"\r\n",
                    b"Content-Length: 5\r\nContent-Length: 5\r\n", b"Content-Length: +5\r\n", b"Content-Length: -5\r\n", b"Content-Length: 0x5\r\n", b"Content-Length: 5 5\r\n", b"Content-Length: \r\n",
                    b"Content-Length : 5\r\n", b" Content-Length: 5\r\n", b"X: y\r\n Content-Length: 5\r\n", b"X: y\nContent-Length: 5\r\n", b"X: y\rContent-Length: 5\r\n", b"Content-Length: 5\x00\r\n",
                    b"Content-Length: 18446744073709551621\r\n", b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: chunked, identity\r\n", te + te, b"Transfer-Encoding:\r\n chunked\r\n",
                    b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding: \x0bchunked\r\n", b"", b"X: y\r\n" * 300, b"X: " + b"y" * 200000 + b"\r\n", b"Content-Length: 0\r\n", b"Content-Length: 4\r\n", b"Content-Length: 6\r\n"]:
        for body in [b"first", b"5\r\nfirst\r\n" + end]:
            yield ok + headers + b"\r\n" + body + POISON
            yield ok + headers + b"\r\n" + body + b"CLOSE"
    for body in [b"5\r\nfirst\r\n0\r\n", b"5\r\nfirst\r\n", b"5\r\nfirst" + end, b"+5\r\nfirst\r\n" + end, b"-5\r\nfirst\r\n" + end, b"0x5\r\nfirst\r\n" + end, b"5 \r\nfirst\r\n" + end, b"5\nfirst\n0\n\n",
                 b"5;a\nb\r\nfirst\r\n" + end, b"5\r\nfirst\r\n0\r\nX: y\r\n\r\n", b"5\r\nfirst\r\n0\r\nContent-Length: 50\r\n\r\n", b"5\r\nfirst\r\n0\r\n X\r\n\r\n", b"5\r\nfirst\r\n00\r\n\r\n", b"4\r\nfirst\r\n" + end,
                 b"6\r\nfirst\r\n" + end, b"ffffffffffffffff\r\nfirst\r\n", b"10000000000000005\r\nfirst\r\n" + end, b"first", end]:
        yield ok + te + b"\r\n" + body + POISON
        yield ok + te + b"\r\n" + body + b"CLOSE"
    for extra in [POISON, b"\r\n" + POISON, b"\r\n", b"x", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 408 Request Timeout\r\n\r\n"]:
        yield ok + b"Content-Length: 5\r\n\r\nfirst" + extra
        yield ok + te + b"\r\n5\r\nfirst\r\n" + end + extra
        yield b"HTTP/1.1 204 No Content\r\n\r\n" + extra
        yield b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + extra
    for status in [b"204 No Content", b"304 Not Modified", b"205 Reset", b"101 Switching Protocols", b"199 X", b"100 Continue"]:
        yield b"HTTP/1.1 " + status + b"\r\nContent-Length: " + n + b"\r\n\r\n" + POISON
        yield b"HTTP/1.1 " + status + b"\r\n" + te + b"\r\n" + b"%x\r\n" % len(POISON) + POISON + b"\r\n" + end
        yield b"HTTP/1.1 " + status + b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + POISON
    for count in (1, 10, 200, 5000):
        yield b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * count + ok + b"Content-Length: 5\r\n\r\nfirst"
    for line in [b"HTTP/1.1 200", b"HTTP/1.1  200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 -20 OK", b"HTTP/1.1 +20 OK", b"HTTP/1.1 000 OK", b"HTTP/1.1 999 OK", b"HTTP/2.0 200 OK", b"HTTP/0.9 200 OK", b"HTTP/1.0 200 OK",
                 b"http/1.1 200 OK", b"ICY 200 OK", b"HTTP/1.1\t200\tOK", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 OK\rX: y", b"\r\nHTTP/1.1 200 OK", b" HTTP/1.1 200 OK", b"HTTP/1.12 200 OK", b"200 OK", b"<html>", b""]:
        yield line + b"\r\nContent-Length: 5\r\n\r\nfirst" + POISON
        yield line + b"\nContent-Length: 5\n\nfirst" + POISON
    for connection in [b"close", b"keep-alive", b"Content-Length", b"close, Content-Length"]:
        yield ok + b"Connection: " + connection + b"\r\nContent-Length: 5\r\n\r\nfirst" + POISON
    for coding in [b"gzip", b"x", b"identity", b"gzip, gzip", b"chunked"]:
        yield ok + b"Content-Encoding: " + coding + b"\r\nContent-Length: 5\r\n\r\nfirst" + POISON
    yield b"CLOSE"
    yield b"HTTP/1.1 200 OK\r\nContent-Le" + b"CLOSE"


# --- inside the sandbox -------------------------------------------------------------------------------

# Reads {"cases": [[host, base64 of what to send, how many answers there may be, cut], ...], "port", "tls", "mark", "pause", "pace"} from the
# file it is given; writes for each case the base64 of what came back, and how it ended. mark is in every answer of the origin; the first cut
# bytes are sent alone, and the others after a pause.
PROBE = r"""
import base64, json, socket, ssl, sys, time
from concurrent.futures import ThreadPoolExecutor
plan = json.load(open(sys.argv[1]))
mark = plan["mark"].encode()
context = ssl.create_default_context()

def talk(s, data, most, cut, got):
    if cut:
        s.sendall(data[:cut])
        time.sleep(plan["pause"])
    s.sendall(data[cut:])
    deadline = time.monotonic() + 8
    shut = False
    while time.monotonic() < deadline:
        s.settimeout(2 if shut else 0.05 if most and got.lower().count(mark) >= most else 0.4)
        try:
            more = s.recv(65536)
        except TimeoutError:
            if shut or plan["tls"]:
                return "silent" if shut else "kept"
            s.shutdown(socket.SHUT_WR)
            shut = True
            continue
        if not more:
            return "end"
        got += more
    return "hang"

def run(case):
    got = bytearray()
    try:
        with socket.create_connection((case[0], plan["port"]), 8) as s:
            if plan["tls"]:
                s = context.wrap_socket(s, server_hostname=case[0])
            with s:
                how = talk(s, base64.b64decode(case[1]), case[2], case[3], got)
    except OSError as e:
        how = type(e).__name__
    return [base64.b64encode(got).decode(), how]

with ThreadPoolExecutor(48) as pool:
    # Not faster than the gate records what is done.
    running = [(time.sleep(plan["pace"]), pool.submit(run, case))[1] for case in plan["cases"]]
    print(json.dumps([one.result() for one in running]))
"""

# Each asks for /a-N and then /b-N on one connection, and tells what came for the latter.
CLIENTS = {
    "python": ("twice.py", "python3", r"""
import http.client, json, sys, time, urllib.parse
from concurrent.futures import ThreadPoolExecutor
url = urllib.parse.urlsplit(sys.argv[1])
def run(i):
    conn = (http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection)(url.hostname, timeout=3)
    try:
        conn.request("GET", f"/a-{i}")
        first = conn.getresponse()
        first.read()
        if first.status < 200:
            return "error interim"  # http.client takes every interim answer but 100 for the answer: with it nobody can go on
        conn.auto_open = 0
        time.sleep(0.1)
        conn.request("GET", f"/b-{i}")
        return conn.getresponse().read().decode("latin-1")
    except (OSError, http.client.HTTPException) as e:
        return f"error {e!r}"
    finally:
        conn.close()
with ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(run, range(int(sys.argv[2]))))))
"""),
    "curl": ("twice-curl.py", "python3", r"""
import json, os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
def run(i):
    done = subprocess.run(["curl", "-s", "-m", "3", "-o", f"/tmp/a-{i}", f"{sys.argv[1]}/a-{i}", "-o", f"/tmp/b-{i}", f"{sys.argv[1]}/b-{i}"])
    try:
        text = open(f"/tmp/b-{i}", encoding="latin-1").read()
        os.unlink(f"/tmp/b-{i}")
    except FileNotFoundError:
        text = ""
    return text or f"error {done.returncode}"
with ThreadPoolExecutor(8) as pool:
    print(json.dumps(list(pool.map(run, range(int(sys.argv[2]))))))
"""),
    "node": ("twice.js", "node", r"""
const [url, count] = process.argv.slice(2), lib = require(url.split(':')[0]);
function get(path, agent) {
  return new Promise(done => {
    const req = lib.get(url + path, {agent, timeout: 3000}, res => {
      let text = '';
      res.on('data', d => text += d.toString('latin1'));
      res.on('end', () => done(text));
      res.on('error', e => done('error ' + e.code));
    });
    req.on('timeout', () => req.destroy(new Error('timeout')));
    req.on('upgrade', (res, socket) => { socket.destroy(); done('error upgrade'); });
    req.on('error', e => done('error ' + (e.code ?? e.message)));
  });
}
async function run(i) {
  const agent = new lib.Agent({keepAlive: true, maxSockets: 1});
  await get('/a-' + i, agent);
  const text = await get('/b-' + i, agent);
  agent.destroy();
  return text;
}
(async () => {
  const out = [];
  for (let at = 0; at < count; at += 16)
    out.push(...await Promise.all([...Array(Math.min(16, count - at)).keys()].map(k => run(at + k))));
  console.log(JSON.stringify(out));
})();
"""),
}
