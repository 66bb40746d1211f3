"""End a sandbox before its time, whoever is connected."""

import asyncio
import json

from deno_sandbox import AsyncDenoDeploy
from websockets.exceptions import InvalidStatus


async def main():
    sdk = AsyncDenoDeploy()

    async with sdk.sandbox.create(timeout="10m") as sandbox:
        child = await sandbox.spawn("echo", args=["I am alive"], stdout="piped")
        print((await child.stdout.read()).decode().strip())
        await child.wait()

        await sandbox.kill()
        print(f"Killed {sandbox.id}.")

    # The client passes its WebSocket library's exception on; the server's answer is in it.
    try:
        async with sdk.sandbox.connect(sandbox.id):
            raise SystemExit("a killed sandbox still answers")
    except InvalidStatus as error:
        answer = json.loads(error.response.body)
        print(f"Connecting again: {error.response.status_code} {answer['code']}: {answer['message']}")


asyncio.run(main())
