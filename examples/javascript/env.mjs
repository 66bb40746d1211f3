// Provide default environment variables.
import { Sandbox } from "@deno/sandbox";

await using sandbox = await Sandbox.create({
  env: {
    NODE_ENV: "development",
    FEATURE_FLAG: "agents",
  },
});

const shell = await sandbox.sh`echo "NODE_ENV=$NODE_ENV FEATURE_FLAG=$FEATURE_FLAG"`.text();
console.log(`the shell sees ${shell.trim()}`);

const node = await sandbox.sh`node -p "process.env.NODE_ENV"`.text();
console.log(`node sees ${node.trim()}`);

// They can be changed later, for the programs started from then on.
await sandbox.env.set("FEATURE_FLAG", "none");
console.log(`FEATURE_FLAG is now ${(await sandbox.sh`echo $FEATURE_FLAG`.text()).trim()}`);
