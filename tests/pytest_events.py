"""pytest plugin of tests/run: writes one line of JSON for each test that ends to WARREN_TEST_EVENTS_FD."""

import json
import os


class Events:
    def __init__(self, fd):
        self.fd = fd
        self.running = {}

    def write(self, name, outcome, seconds, output):
        line = json.dumps({"name": f"e2e/{name}", "outcome": outcome, "seconds": seconds, "output": output}) + "\n"
        data = line.encode()
        while data:
            data = data[os.write(self.fd, data) :]

    def pytest_runtest_logreport(self, report):
        state = self.running.setdefault(report.nodeid, {"outcome": "passed", "seconds": 0.0, "output": []})
        state["seconds"] += report.duration
        if report.failed:
            state["outcome"] = "failed"
            state["output"].append(report.longreprtext)
            state["output"] += [f"--- {title}\n{text}" for title, text in report.sections]
        elif report.skipped and state["outcome"] == "passed":
            state["outcome"] = "skipped"
        if report.when == "teardown":
            del self.running[report.nodeid]
            name = report.nodeid.removeprefix("tests/e2e/")
            self.write(name, state["outcome"], state["seconds"], "\n".join(state["output"]))

    def pytest_collectreport(self, report):
        if report.failed:
            self.write(f"{report.nodeid} (collection)", "failed", 0.0, report.longreprtext)


def pytest_configure(config):
    config.pluginmanager.register(Events(int(os.environ["WARREN_TEST_EVENTS_FD"])))
