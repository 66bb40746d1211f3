"""Run in a specific region with more memory than the default of 1280 MiB."""

from deno_sandbox import DenoDeploy

# Fills 1400 MiB: more than a sandbox of the default size has.
FILL = "block = b'x' * (1400 << 20); print('a program holds', len(block) >> 20, 'MiB')"

sdk = DenoDeploy()

with sdk.sandbox.create(region="ams", memory_mb=2048) as sandbox:
    _, region, _ = sandbox.id.split("_")
    print(f"Sandbox {sandbox.id} is in region {region}.")

    child = sandbox.spawn("python3", args=["-c", FILL], stdout="piped")
    print(child.stdout.read().decode().strip())
    print(f"it ended with status {child.wait()['code']}")
