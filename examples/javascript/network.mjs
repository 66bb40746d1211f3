// Allow outbound traffic to specific APIs.
import { Sandbox } from "@deno/sandbox";

await using sandbox = await Sandbox.create({
  allowNet: ["api.openai.com", "api.stripe.com"],
});
console.log(`Sandbox ${sandbox.id} is ready.`);

// Any other host is refused at once, and the answer says why.
const refused = await sandbox.sh`curl -sS -w '\nstatus %{http_code}\n' http://example.com/`.text();
console.log(`example.com answers ${refused.trim()}`);

// What was refused is listed inside the sandbox, where an agent can read it.
const denial = await sandbox.sh`
  file=/run/warren/denials.jsonl
  timeout 5 sh -c "until test -s $file; do sleep 0.1; done"
  tail -n 1 $file`.text();
console.log(`the sandbox was told ${denial.trim()}`);
