"""What the gate does, for mitmproxy: the value of a secret in for its placeholder, and out of answers."""

import os

PLACEHOLDER = os.environ["BENCH_PLACEHOLDER"].encode()
SECRET = os.environ["BENCH_SECRET"].encode()
STARS = b"*" * len(SECRET)
STREAM_FROM = 1 << 20  # larger bodies are passed on in pieces


def swap(headers, old, new):
    headers.fields = tuple((name, value.replace(old, new)) for name, value in headers.fields)


def requestheaders(flow):
    swap(flow.request.headers, PLACEHOLDER, SECRET)


def responseheaders(flow):
    swap(flow.response.headers, SECRET, STARS)
    if int(flow.response.headers.get("content-length", 0)) >= STREAM_FROM:
        flow.response.stream = lambda data: data.replace(SECRET, STARS)


def response(flow):
    if not flow.response.stream:
        flow.response.content = flow.response.content.replace(SECRET, STARS)
