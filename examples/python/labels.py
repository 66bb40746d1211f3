"""Attach labels to sandboxes and find them again by label."""

from deno_sandbox import DenoDeploy

sdk = DenoDeploy()

with (
    sdk.sandbox.create(labels={"agentId": "indexer", "customerId": "globex"}) as indexer,
    sdk.sandbox.create(labels={"agentId": "writer", "customerId": "globex"}) as writer,
):
    found = sdk.sandbox.list(labels={"agentId": "indexer", "customerId": "globex"}).items
    for item in found:
        print(f"{item['id']} is {item['status']} in region {item['region']}")

    ids = [item["id"] for item in found]
    print(f"the indexer is in the list: {indexer.id in ids}")
    print(f"the writer is in the list: {writer.id in ids}")
