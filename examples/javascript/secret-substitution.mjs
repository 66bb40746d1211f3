// Configure secret substitution for approved hosts.
import { Sandbox } from "@deno/sandbox";

await using sandbox = await Sandbox.create({
  allowNet: ["api.openai.com"],
  secrets: {
    OPENAI_API_KEY: {
      hosts: ["api.openai.com"],
      value: process.env.OPENAI_API_KEY,
    },
  },
});

// Programs see a placeholder. Only in requests to api.openai.com does the value take its place, on the way out.
const seen = await sandbox.sh`echo $OPENAI_API_KEY`.text();
console.log(`the sandbox sees ${seen.trim()}`);
console.log(`is it the value? ${seen.trim() === process.env.OPENAI_API_KEY ? "yes" : "no"}`);

// A host that is not approved gets neither the value nor the placeholder: the request does not get through.
const refused = await sandbox.sh`curl -sS -H "Authorization: Bearer $OPENAI_API_KEY" http://example.com/`.text();
console.log(`example.com answers ${refused.trim()}`);
