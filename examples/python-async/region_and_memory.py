"""Run in a specific region with more memory than the default of 1280 MiB."""

import asyncio

from deno_sandbox import AsyncDenoDeploy

# Fills 1400 MiB: more than a sandbox of the default size has.
FILL = "block = b'x' * (1400 << 20); print('a program holds', len(block) >> 20, 'MiB')"


async def main():
    sdk = AsyncDenoDeploy()

    async with sdk.sandbox.create(region="ams", memory_mb=2048) as sandbox:
        _, region, _ = sandbox.id.split("_")
        print(f"Sandbox {sandbox.id} is in region {region}.")

        child = await sandbox.spawn("python3", args=["-c", FILL], stdout="piped")
        print((await child.stdout.read()).decode().strip())
        print(f"it ended with status {(await child.wait())['code']}")


asyncio.run(main())
