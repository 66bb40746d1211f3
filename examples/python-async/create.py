"""Create a sandbox and run a command in it."""

import asyncio

from deno_sandbox import AsyncDenoDeploy


async def sh(sandbox, command):
    child = await sandbox.spawn("bash", args=["-c", command], stdout="piped")
    output = (await child.stdout.read()).decode()
    await child.wait()
    return output.strip()


async def main():
    sdk = AsyncDenoDeploy()

    async with sdk.sandbox.create() as sandbox:
        print(f"Sandbox {sandbox.id} is ready.")
        print(await sh(sandbox, 'echo "hello from $(whoami) in $(pwd)"'))
        print(await sh(sandbox, '. /etc/os-release; echo "$PRETTY_NAME"; python3 --version'))


asyncio.run(main())
