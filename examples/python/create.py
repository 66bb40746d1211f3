"""Create a sandbox and run a command in it."""

from deno_sandbox import DenoDeploy


def sh(sandbox, command):
    child = sandbox.spawn("bash", args=["-c", command], stdout="piped")
    output = child.stdout.read().decode()
    child.wait()
    return output.strip()


sdk = DenoDeploy()

with sdk.sandbox.create() as sandbox:
    print(f"Sandbox {sandbox.id} is ready.")
    print(sh(sandbox, 'echo "hello from $(whoami) in $(pwd)"'))
    print(sh(sandbox, '. /etc/os-release; echo "$PRETTY_NAME"; python3 --version'))
