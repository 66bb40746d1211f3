"""Where the official JavaScript client and its two runtimes are; installs them when missing.

The versions are those of examples/javascript, and so is the folder that `make demo` installs into.
"""

import fcntl
import functools
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JS_DIR = Path(os.environ.get("WARREN_E2E_JS_DIR") or ROOT / "build" / "clients" / "javascript")
EXAMPLES = ROOT / "examples" / "javascript"


def _deno():
    """The program itself: a launcher around it would keep signals from it."""
    found = sorted(JS_DIR.glob("node_modules/@deno/*/deno"))
    return str(found[0]) if found else None


def _installed():
    return (JS_DIR / "node_modules/@deno/sandbox/esm/mod.js").exists() and _deno()


@functools.cache
def _install():
    """Once, also when it fails: every test would wait for npm again otherwise."""
    for name in ("package.json", "package-lock.json", ".npmrc"):
        if (EXAMPLES / name).exists():
            shutil.copy(EXAMPLES / name, JS_DIR / name)
    done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=JS_DIR,
                          timeout=300, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return f"npm ci ended with {done.returncode}\n{done.stdout}{done.stderr}"


def javascript():
    """The folder whose node_modules holds @deno/sandbox and deno."""
    JS_DIR.mkdir(parents=True, exist_ok=True)
    with open(JS_DIR.parent / ".javascript.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _installed():
            output = _install()
            assert _installed(), f"no @deno/sandbox and deno in {JS_DIR}: {output}"
    return JS_DIR


def runtime_command(runtime):
    """The start of a command line that runs a module with "deno" or "node"; None when absent."""
    javascript()
    if runtime == "node":
        node = shutil.which("node")
        return [node] if node else None
    return [_deno(), "run", "--quiet", "--allow-all", "--no-lock", "--node-modules-dir=manual"]
