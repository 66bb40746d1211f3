"""Keep a sandbox alive after disconnecting, and come back to it later."""

import asyncio

from deno_sandbox import AsyncDenoDeploy


async def sh(sandbox, command):
    child = await sandbox.spawn("bash", args=["-c", command], stdout="piped")
    output = (await child.stdout.read()).decode()
    await child.wait()
    return output.strip()


async def main():
    sdk = AsyncDenoDeploy()

    async with sdk.sandbox.create(timeout="10m") as sandbox:
        sandbox_id = sandbox.id
        await sandbox.fs.write_text_file("notes.txt", "written before the disconnect\n")
        await sh(sandbox, "sleep 600 >/dev/null 2>&1 & echo $! > pid.txt")
        await sandbox.close()  # disconnect but leave the sandbox running
    print(f"Disconnected from {sandbox_id}.")

    # ...later...
    async with sdk.sandbox.connect(sandbox_id) as reconnected:
        print(f"Reconnected to {reconnected.id}.")
        print("notes.txt:", (await reconnected.fs.read_text_file("notes.txt")).strip())
        print(await sh(reconnected, 'kill -0 $(cat pid.txt) && echo "the process still runs"'))

        await reconnected.kill()  # or it would live on until its ten minutes are over


asyncio.run(main())
