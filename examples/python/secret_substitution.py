"""Configure secret substitution for approved hosts."""

import os

from deno_sandbox import DenoDeploy


def sh(sandbox, command):
    child = sandbox.spawn("bash", args=["-c", command], stdout="piped")
    output = child.stdout.read().decode()
    child.wait()
    return output.strip()


sdk = DenoDeploy()

with sdk.sandbox.create(
    allow_net=["api.openai.com"],
    secrets={
        "OPENAI_API_KEY": {
            "hosts": ["api.openai.com"],
            "value": os.environ.get("OPENAI_API_KEY"),
        }
    }
) as sandbox:
    # Programs see a placeholder. Only in requests to api.openai.com does the value take its place, on the way out.
    seen = sh(sandbox, "echo $OPENAI_API_KEY")
    print("the sandbox sees", seen)
    print("is it the value?", "yes" if seen == os.environ.get("OPENAI_API_KEY") else "no")

    # A host that is not approved gets neither the value nor the placeholder: the request does not get through.
    refused = sh(sandbox, 'curl -sS -H "Authorization: Bearer $OPENAI_API_KEY" http://example.com/')
    print("example.com answers", refused)
