"""Configure secret substitution for approved hosts."""

import asyncio
import os

from deno_sandbox import AsyncDenoDeploy


async def sh(sandbox, command):
    child = await sandbox.spawn("bash", args=["-c", command], stdout="piped")
    output = (await child.stdout.read()).decode()
    await child.wait()
    return output.strip()


async def main():
    sdk = AsyncDenoDeploy()

    async with sdk.sandbox.create(
        allow_net=["api.openai.com"],
        secrets={
            "OPENAI_API_KEY": {
                "hosts": ["api.openai.com"],
                "value": os.environ.get("OPENAI_API_KEY"),
            }
        }
    ) as sandbox:
        # Programs see a placeholder. Only in requests to api.openai.com does the value take its place, on the way out.
        seen = await sh(sandbox, "echo $OPENAI_API_KEY")
        print("the sandbox sees", seen)
        print("is it the value?", "yes" if seen == os.environ.get("OPENAI_API_KEY") else "no")

        # A host that is not approved gets neither the value nor the placeholder: the request does not get through.
        refused = await sh(sandbox, 'curl -sS -H "Authorization: Bearer $OPENAI_API_KEY" http://example.com/')
        print("example.com answers", refused)


asyncio.run(main())
