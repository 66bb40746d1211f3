"""Where the official JavaScript client and its two runtimes are; installs them when missing."""

import fcntl
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JS_DIR = Path(os.environ.get("WARREN_E2E_JS_DIR") or ROOT / "build" / "clients" / "javascript")
EXAMPLES = ROOT / "examples" / "javascript"
PINNED = {"@deno/sandbox": "0.13.2", "deno": "2.9.6"}


def _installed():
    return ((JS_DIR / "node_modules/@deno/sandbox/esm/mod.js").exists()
            and (JS_DIR / "node_modules/.bin/deno").exists())


@functools.cache
def javascript():
    """The folder whose node_modules holds @deno/sandbox and deno."""
    JS_DIR.mkdir(parents=True, exist_ok=True)
    with open(JS_DIR.parent / ".javascript.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _installed():
            _install()
    return JS_DIR


def _install():
    command = ["npm", "install"]
    if (EXAMPLES / "package.json").exists():
        for name in ("package.json", "package-lock.json"):
            if (EXAMPLES / name).exists():
                shutil.copy(EXAMPLES / name, JS_DIR / name)
        if (JS_DIR / "package-lock.json").exists():
            command = ["npm", "ci"]
    else:
        (JS_DIR / "package.json").write_text(
            json.dumps({"private": True, "type": "module", "dependencies": PINNED}))
    subprocess.run([*command, "--no-audit", "--no-fund", "--loglevel=error"], cwd=JS_DIR,
                   check=True, timeout=300, stdin=subprocess.DEVNULL)
    assert _installed(), f"npm did not leave @deno/sandbox and deno in {JS_DIR}"


@functools.cache
def runtime_command(runtime):
    """The start of a command line that runs a module with "deno" or "node"; None when absent."""
    if runtime == "node":
        node = shutil.which("node")
        return [node] if node else None
    # The launcher in .bin is a Node script around the real program; signals reach only the latter.
    found = sorted(javascript().glob("node_modules/@deno/*/deno"))
    deno = str(found[0]) if found else str(javascript() / "node_modules/.bin/deno")
    return [deno, "run", "--quiet", "--allow-all", "--no-lock", "--node-modules-dir=manual"]
