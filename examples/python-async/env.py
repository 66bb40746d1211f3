"""Provide default environment variables."""

import asyncio

from deno_sandbox import AsyncDenoDeploy


async def sh(sandbox, command):
    child = await sandbox.spawn("bash", args=["-c", command], stdout="piped")
    output = (await child.stdout.read()).decode()
    await child.wait()
    return output.strip()


async def main():
    sdk = AsyncDenoDeploy()

    async with sdk.sandbox.create(
        env={
            "NODE_ENV": "development",
            "FEATURE_FLAG": "agents",
        }
    ) as sandbox:
        print("the shell sees", await sh(sandbox, 'echo "NODE_ENV=$NODE_ENV FEATURE_FLAG=$FEATURE_FLAG"'))
        print("node sees", await sh(sandbox, 'node -p "process.env.NODE_ENV"'))

        # They can be changed later, for the programs started from then on.
        await sandbox.env.set("FEATURE_FLAG", "none")
        print("FEATURE_FLAG is now", await sh(sandbox, "echo $FEATURE_FLAG"))


asyncio.run(main())
