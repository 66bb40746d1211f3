"""End a sandbox before its time, whoever is connected."""

import json

from deno_sandbox import DenoDeploy
from websockets.exceptions import InvalidStatus

sdk = DenoDeploy()

with sdk.sandbox.create(timeout="10m") as sandbox:
    child = sandbox.spawn("echo", args=["I am alive"], stdout="piped")
    print(child.stdout.read().decode().strip())
    child.wait()

    sandbox.kill()
    print(f"Killed {sandbox.id}.")

# The client passes its WebSocket library's exception on; the server's answer is in it.
try:
    with sdk.sandbox.connect(sandbox.id):
        raise SystemExit("a killed sandbox still answers")
except InvalidStatus as error:
    answer = json.loads(error.response.body)
    print(f"Connecting again: {error.response.status_code} {answer['code']}: {answer['message']}")
