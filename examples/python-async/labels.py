"""Attach labels to sandboxes and find them again by label."""

import asyncio

from deno_sandbox import AsyncDenoDeploy


async def main():
    sdk = AsyncDenoDeploy()

    async with (
        sdk.sandbox.create(labels={"agentId": "indexer", "customerId": "initech"}) as indexer,
        sdk.sandbox.create(labels={"agentId": "writer", "customerId": "initech"}) as writer,
    ):
        page = await sdk.sandbox.list(labels={"agentId": "indexer", "customerId": "initech"})
        for item in page.items:
            print(f"{item['id']} is {item['status']} in region {item['region']}")

        ids = [item["id"] for item in page.items]
        print(f"the indexer is in the list: {indexer.id in ids}")
        print(f"the writer is in the list: {writer.id in ids}")


asyncio.run(main())
