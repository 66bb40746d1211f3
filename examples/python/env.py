"""Provide default environment variables."""

from deno_sandbox import DenoDeploy


def sh(sandbox, command):
    child = sandbox.spawn("bash", args=["-c", command], stdout="piped")
    output = child.stdout.read().decode()
    child.wait()
    return output.strip()


sdk = DenoDeploy()

with sdk.sandbox.create(
    env={
        "NODE_ENV": "development",
        "FEATURE_FLAG": "agents",
    }
) as sandbox:
    print("the shell sees", sh(sandbox, 'echo "NODE_ENV=$NODE_ENV FEATURE_FLAG=$FEATURE_FLAG"'))
    print("node sees", sh(sandbox, 'node -p "process.env.NODE_ENV"'))

    # They can be changed later, for the programs started from then on.
    sandbox.env.set("FEATURE_FLAG", "none")
    print("FEATURE_FLAG is now", sh(sandbox, "echo $FEATURE_FLAG"))
