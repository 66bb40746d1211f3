"""Keep a sandbox alive after disconnecting, and come back to it later."""

from deno_sandbox import DenoDeploy


def sh(sandbox, command):
    child = sandbox.spawn("bash", args=["-c", command], stdout="piped")
    output = child.stdout.read().decode()
    child.wait()
    return output.strip()


sdk = DenoDeploy()

with sdk.sandbox.create(timeout="10m") as sandbox:
    sandbox_id = sandbox.id
    sandbox.fs.write_text_file("notes.txt", "written before the disconnect\n")
    sh(sandbox, "sleep 600 >/dev/null 2>&1 & echo $! > pid.txt")
    sandbox.close()  # disconnect but leave the sandbox running
print(f"Disconnected from {sandbox_id}.")

# ...later...
with sdk.sandbox.connect(sandbox_id) as reconnected:
    print(f"Reconnected to {reconnected.id}.")
    print("notes.txt:", reconnected.fs.read_text_file("notes.txt").strip())
    print(sh(reconnected, 'kill -0 $(cat pid.txt) && echo "the process still runs"'))

    reconnected.kill()  # or it would live on until its ten minutes are over
