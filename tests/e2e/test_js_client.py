"""The unmodified JavaScript client, on Deno and on Node: js/cases.mjs, one test per case."""

import json
import queue
import re
import subprocess
import threading
from pathlib import Path

import pytest

import clients
import server as server_module

JS = Path(__file__).parent / "js"
NAMES = re.findall(r"^    async (\w+)\(\) \{$", (JS / "cases.mjs").read_text(), re.MULTILINE)
assert len(NAMES) > 40


class Runner:
    """One process of a runtime that works off cases, replaced when a case has broken it."""

    def __init__(self, command, env, cases=JS / "cases.mjs"):
        self.command, self.env, self.cases = command, env, cases
        self.process = None

    def start(self):
        folder = clients.javascript()
        self.process = subprocess.Popen(
            [*self.command, str(JS / "runner.mjs"), str(folder), str(self.cases)],
            cwd=folder, env=self.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self.lines = queue.Queue()

        def drain(process, lines):
            for line in process.stdout:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=drain, args=(self.process, self.lines), daemon=True).start()

    def run(self, name, timeout=45):
        if self.process is None:
            self.start()
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        output = []
        while True:
            try:
                line = self.lines.get(timeout=timeout)
            except queue.Empty:
                self.stop(kill=True)
                raise AssertionError(f"{name} hangs; output:\n{''.join(output)}") from None
            if line is None:
                status = self.process.wait()
                self.process = None
                raise AssertionError(
                    f"{name} has ended the whole client process ({status}):\n{''.join(output)}")
            if line.startswith("@@result "):
                result = json.loads(line.removeprefix("@@result "))
                assert result["name"] == name
                assert result["ok"], f"{result['error']}\noutput:\n{''.join(output)}"
                return "".join(output)
            output.append(line)

    def stop(self, kill=False):
        process, self.process = self.process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError("the client process does not end after sandbox.close()") from None


@pytest.fixture(scope="module", params=["deno", "node"])
def runner(request, server):
    command = clients.runtime_command(request.param)
    if command is None:
        pytest.skip(f"{request.param} is not installed")
    one = Runner(command, server_module.clean_environment(
        **server.env, NO_COLOR="1", DENO_DIR=str(clients.javascript().parent / "deno-dir")))
    yield one
    one.stop()


# What is under way when a stream is cancelled makes the client complain, whoever serves it.
RACING = {"spawn_cancelled_output", "spawn_stdin_closed_by_child", "fs_errors", "fs_abort"}


@pytest.mark.parametrize("name", NAMES)
def test_js(runner, name):
    output = runner.run(name)
    complaints = ["Failed to parse", "Invalid stream"]
    if name not in RACING:
        complaints += ["Unknown notification", "does not exist"]
    for complaint in complaints:
        assert complaint not in output, f"the client complains about the server:\n{output}"
