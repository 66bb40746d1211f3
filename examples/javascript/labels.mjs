// Attach labels to sandboxes and find them again by label.
import { Client, Sandbox } from "@deno/sandbox";

await using indexer = await Sandbox.create({
  labels: { agentId: "indexer", customerId: "acme" },
});
await using writer = await Sandbox.create({
  labels: { agentId: "writer", customerId: "acme" },
});

const client = new Client();

const found = await client.sandboxes.list({ labels: { agentId: "indexer", customerId: "acme" } });
for (const { id, status, labels } of found.filter(({ status }) => status === "running")) {
  console.log(`${id} is ${status}, labels ${JSON.stringify(labels)}`);
}

const ids = found.map(({ id }) => id);
console.log(`the indexer is in the list: ${ids.includes(indexer.id)}`);
console.log(`the writer is in the list: ${ids.includes(writer.id)}`);
