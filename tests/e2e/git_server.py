"""A Git server of the outside world: `git http-backend` behind a web server that asks for a password."""

import base64
import os
import subprocess
from pathlib import Path

from world import Handler


def _git(*args, cwd=None):
    subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, stdin=subprocess.DEVNULL,
                   env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"})


def make_repository(folder, files):
    """A bare repository that may be pushed to, with one commit of files {name: bytes} on main."""
    bare, work = Path(folder) / "repo.git", Path(folder) / "work"
    _git("init", "--quiet", "--bare", "--initial-branch=main", bare)
    _git("config", "http.receivepack", "true", cwd=bare)
    _git("clone", "--quiet", bare, work)
    for name, data in files.items():
        (work / name).write_bytes(data)
    _git("add", ".", cwd=work)
    _git("-c", "user.name=Someone", "-c", "user.email=someone@git.test", "commit", "--quiet", "-m", "first", cwd=work)
    _git("push", "--quiet", "origin", "HEAD:main", cwd=work)
    return bare


class GitHandler(Handler):
    """Repositories of self.server.git_root. Below /private/ they need self.server.git_password."""

    def _allowed(self):
        if not self.path.startswith("/private/"):
            return True
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return False
        return kind.lower() == "basic" and given == self.server.git_password

    def _environment(self, path, query):
        return {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.server.git_root), "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_ADDR": self.client_address[0],
            "CONTENT_TYPE": self.headers.get("content-type", ""), "REMOTE_USER": "someone",
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
        }

    def do_git(self, query, body, seen):
        path, _, query = self.path.partition("?")
        env = self._environment("/" + path.split("/", 2)[2], query)
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env={**env, "CONTENT_LENGTH": str(len(body))})
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
        status = next((int(v.split()[0]) for k, v in fields if k.lower() == "status"), 200)
        self._answer(data, status, [(k, v) for k, v in fields if k.lower() != "status"])

    def do_private(self, query, body, seen):
        if self._allowed():
            self.do_git(query, body, seen)
        else:
            self._answer("who are you?\n", 401, [("WWW-Authenticate", 'Basic realm="git"')])


def serve(world, name, root, password, port=443):
    """Serves the bare repositories in root as https://name/git/repo.git and https://name/private/repo.git."""
    server = world.http(name, port, names=[name], handler=GitHandler)
    server.git_root, server.git_password = root, password
    return server
