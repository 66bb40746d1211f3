"""Allow outbound traffic to specific APIs."""

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
        allow_net=["api.openai.com", "api.stripe.com"]
    ) as sandbox:
        print(f"Sandbox {sandbox.id} is ready.")

        # Any other host is refused at once, and the answer says why.
        refused = await sh(sandbox, r"curl -sS -w '\nstatus %{http_code}\n' http://example.com/")
        print("example.com answers", refused)

        # What was refused is listed inside the sandbox, where an agent can read it.
        denials = "/run/warren/denials.jsonl"
        await sh(sandbox, f"timeout 5 sh -c 'until test -s {denials}; do sleep 0.1; done'")
        print("the sandbox was told", (await sandbox.fs.read_text_file(denials)).splitlines()[-1])


asyncio.run(main())
