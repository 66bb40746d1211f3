"""What people do in a sandbox with network: package managers against the real registries, Git, and the usual HTTPS clients."""

import base64
import functools
import json
import os
import ssl
import urllib.error
import urllib.request

import pytest

import git_server
from conftest import running
from test_egress import events, make
from world import World

TOKEN = "ghp_realUse0123456789abcdefghijklmnop"
FILES = {"README": b"hello from git\n", "big": os.urandom(300_000)}
REGISTRIES = ["registry.npmjs.org", "pypi.org", "files.pythonhosted.org", "deb.debian.org"]
PROBES = {
    "npm": ["https://registry.npmjs.org/express"],
    "pip": ["https://pypi.org/simple/requests/", "https://files.pythonhosted.org/"],
    "apt": ["https://deb.debian.org/debian/dists/trixie/InRelease"],
}


@functools.cache
def trouble(registry):
    """Why the registry cannot be used from this host, or None."""
    context = ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt")
    for url in PROBES[registry]:
        try:
            urllib.request.urlopen(url, timeout=15, context=context).read(100)
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                return f"{url} answers {error.code}"
        except OSError as error:
            return f"{url}: {error}"
    return None


def needs(registry):
    """Looks only when the test runs."""
    if trouble(registry):
        pytest.skip(f"this host does not reach the registry: {trouble(registry)}")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("git")
    git_server.make_repository(root, FILES)
    with World() as one:
        git_server.serve(one, "git.test", root, TOKEN)
        one.http("api.test", 443, names=["api.test"])
        yield one


@pytest.fixture(scope="module")
def gated(world):
    with running(flags=["--log-level", "debug", *world.flags], wrapper=world.wrapper) as one:
        one.shared = True
        yield one


@pytest.fixture(scope="module")
def box(gated):
    """Anything else than the registries is refused: no test needs another name."""
    with make(gated, [*REGISTRIES, "git.test"]) as rpc:
        yield rpc
    gated.discard(rpc.sandbox_id)


@pytest.fixture(scope="module")
def private(gated):
    """Where Git's password and an API key are secrets."""
    secrets = {"TOKEN": {"hosts": ["git.test"], "value": TOKEN}, "API_KEY": {"hosts": ["api.test"], "value": "sk-" + TOKEN}}
    with make(gated, ["git.test", "api.test"], secrets=secrets) as rpc:
        rpc.sh("git config --global user.name Me; git config --global user.email me@sandbox")
        yield rpc
    gated.discard(rpc.sandbox_id)


@pytest.fixture(autouse=True)
def nothing_else_is_asked_for(request, gated):
    """The registries are all that is needed, and nobody is told of refusals that do not matter."""
    yield
    if "box" in request.fixturenames:
        denied = {(e["host"], e["port"]) for e in events(gated, request.getfixturevalue("box"), type="denied")}
        assert not denied


# --- package managers ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.hang(300)
def test_npm_install(box):
    needs("npm")
    box.sh("mkdir -p /app/npm && cd /app/npm && npm init -y && npm install --no-audit --no-fund express", timeout=200)
    out = box.sh("cd /app/npm && node -e \"const e=require('express'); const a=e(); a.get('/',(q,r)=>r.send('it runs')); "
                 "const s=a.listen(0,()=>fetch('http://127.0.0.1:'+s.address().port).then(r=>r.text()).then(t=>{console.log(t);s.close()}))\"",
                 timeout=60)
    assert out == "it runs\n"


@pytest.mark.slow
@pytest.mark.hang(300)
def test_npm_install_with_an_audit(box):
    """npm's own default: the registry is asked with a compressed body. What it answers does not matter."""
    needs("npm")
    box.sh("mkdir -p /app/audit && cd /app/audit && npm init -y && npm install is-odd", timeout=200)
    assert box.sh("cd /app/audit && node -p \"require('is-odd')(3)\"", timeout=60) == "true\n"


@pytest.mark.slow
@pytest.mark.hang(300)
def test_npx(box):
    needs("npm")
    assert "< hi >" in box.sh("cd /tmp && npx --yes cowsay hi", timeout=200)


@pytest.mark.slow
@pytest.mark.hang(300)
def test_pip_install(box):
    needs("pip")
    box.sh("pip install requests", timeout=200)
    assert box.sh("python3 -c \"import requests; print(requests.get('https://pypi.org/simple/six/').status_code)\"", timeout=60) == "200\n"


@pytest.mark.slow
@pytest.mark.hang(300)
def test_pip_in_a_virtual_environment(box):
    needs("pip")
    box.sh("python3 -m venv /tmp/venv && /tmp/venv/bin/pip install six", timeout=200)
    assert box.sh("/tmp/venv/bin/python -c 'import six; print(six.PY3)'") == "True\n"


@pytest.mark.slow
@pytest.mark.hang(300)
def test_deno_adds_a_package(box):
    needs("npm")
    box.sh("mkdir -p /app/deno && cd /app/deno && deno add npm:chalk", timeout=200)
    box.call("writeTextFile", {"path": "/app/deno/main.ts", "content":
                               "import { Chalk } from 'chalk';\nconsole.log(new Chalk({ level: 1 }).red('red'));\n"})
    assert box.sh("cd /app/deno && deno run --allow-all main.ts", timeout=120) == "\x1b[31mred\x1b[39m\n"


@pytest.mark.slow
@pytest.mark.hang(300)
def test_deno_runs_a_package(box):
    needs("npm")
    assert "< hi >" in box.sh("deno run --allow-all npm:cowsay@1.6.0 hi", timeout=200)


@pytest.mark.slow
@pytest.mark.hang(300)
def test_apt_install(box):
    needs("apt")
    assert box.sh("which tree", check=False).code == 1
    box.sh("sudo apt-get update && sudo apt-get install -y tree", timeout=250)
    assert "/run/warren" in box.sh("tree -L 1 -f /run")


def test_host_authorities_inside(box):
    """Registries may be behind an authority that only this host trusts: its bundle is the sandbox's."""
    needs("npm")
    for client in ["curl -sS -o /dev/null -w '%{http_code}' https://registry.npmjs.org/",
                   "python3 -c \"import urllib.request as u; print(u.urlopen('https://registry.npmjs.org/').status, end='')\"",
                   "node -e \"fetch('https://registry.npmjs.org/').then(r=>process.stdout.write(''+r.status))\"",
                   "deno eval \"await Deno.stdout.write(new TextEncoder().encode(String((await fetch('https://registry.npmjs.org/')).status)))\""]:
        assert box.sh(client, timeout=60) == "200", client


# --- Git -------------------------------------------------------------------------------------------


def test_git_clone(box):
    out = box.sh("cd /tmp && rm -rf repo && git clone -q https://git.test/git/repo.git && cd repo && cat README && wc -c < big", timeout=60)
    assert out == "hello from git\n300000\n"


def test_git_push(box):
    box.sh("cd /tmp && rm -rf pushed && git clone -q https://git.test/git/repo.git pushed && cd pushed && head -c 2500000 /dev/urandom > more && "
           "git add more && git -c user.name=Me -c user.email=me@sandbox commit -qm more && git push -q origin HEAD:refs/heads/relayed", timeout=60)
    assert box.sh("git -C /tmp/pushed rev-parse HEAD").strip() in box.sh("git ls-remote https://git.test/git/repo.git relayed")


def given_password(seen):
    (value,) = [v for k, v in seen["headers"] if k == "authorization"]
    return base64.b64decode(value.removeprefix("Basic ")).decode().partition(":")[2]


def git_requests(world, since):
    return [s for s in world.seen[since:] if s["path"].startswith("/private/") and "authorization" in dict(s["headers"])]


HOW = {
    "in the address": ("git clone -q https://user:$TOKEN@git.test/private/repo.git {}", "git push -q"),
    "a credential helper": ("git -c credential.helper='!f() {{ echo username=user; echo \"password=$TOKEN\"; }}; f' clone -q "
                            "https://git.test/private/repo.git {}",
                            "git -c credential.helper='!f() { echo username=user; echo \"password=$TOKEN\"; }; f' push -q"),
    "an extra header": ("git -c http.extraHeader=\"Authorization: Basic $(printf 'user:%s' \"$TOKEN\" | base64 -w0)\" clone -q "
                        "https://git.test/private/repo.git {}",
                        "git -c http.extraHeader=\"Authorization: Basic $(printf 'user:%s' \"$TOKEN\" | base64 -w0)\" push -q"),
}


@pytest.mark.parametrize("how", HOW)
def test_git_with_a_secret_as_password(private, world, how):
    clone, push = HOW[how]
    branch = how.replace(" ", "-")
    since = len(world.seen)
    out = private.sh(f"cd /tmp && {clone.format(branch)} && cd {branch} && cat README && wc -c < big", timeout=60)
    assert out == "hello from git\n300000\n"
    private.sh(f"cd /tmp/{branch} && head -c 2500000 /dev/urandom > more && git add more && git commit -qm more && "
               f"{push} origin HEAD:refs/heads/{branch}", timeout=60)
    assert private.sh(f"git -C /tmp/{branch} rev-parse HEAD") in private.sh(
        "git ls-remote https://git.test/git/repo.git " + branch).replace("\t", "\n")
    asked = git_requests(world, since)
    assert asked and {given_password(s) for s in asked} == {TOKEN}
    assert {"GET", "POST"} <= {s["method"] for s in asked}
    assert TOKEN not in private.sh(f"cat /tmp/{branch}/.git/config")


def test_git_with_a_wrong_password(private):
    result = private.sh("cd /tmp && GIT_TERMINAL_PROMPT=0 git clone -q https://user:wrong@git.test/private/repo.git wrong", check=False, timeout=60)
    assert result.code != 0 and b"Authentication failed" in result.err


# --- HTTPS clients against the host of a secret --------------------------------------------------------

CLIENTS = {
    "node fetch": "node -e \"fetch('{}',{{headers:{{'x-key':process.env.API_KEY}}}}).then(r=>r.text()).then(console.log)\"",
    "node https": "node -e \"require('https').get('{}',{{headers:{{'x-key':process.env.API_KEY}}}},r=>r.pipe(process.stdout))\"",
    "python urllib": "python3 -c \"import os,urllib.request as u; print(u.urlopen(u.Request('{}',headers={{'x-key':os.environ['API_KEY']}})).read().decode())\"",
    "deno fetch": "deno eval \"console.log(await (await fetch('{}',{{headers:{{'x-key':Deno.env.get('API_KEY')}}}})).text())\"",
    "deno node:https": "deno eval \"import h from 'node:https'; h.get('{}',{{headers:{{'x-key':Deno.env.get('API_KEY')}}}},r=>r.pipe(process.stdout))\"",
    "wget": "wget -q -O - --header \"x-key: $API_KEY\" '{}'",
    "git": "git -c http.extraHeader=\"x-key: $API_KEY\" ls-remote '{}' 2>&1 | cat",
}


@pytest.mark.parametrize("client", CLIENTS)
def test_clients_with_a_secret(private, world, client):
    mark = "/echo?client=" + client.replace(" ", "-")
    out = private.sh(CLIENTS[client].format("https://api.test" + mark), timeout=60)
    seen = [s for s in world.requests(server="api.test:443") if s["path"].startswith(mark)]
    assert seen and world.header(seen[-1], "x-key") == ["sk-" + TOKEN]
    assert TOKEN not in out
    if client != "git":
        answer = json.loads(out)
        assert "***" in dict(answer["headers"])["x-key"]


@pytest.mark.slow
@pytest.mark.hang(300)
def test_requests_library_with_a_secret(gated, world):
    """What pip has installed brings its own list of authorities, which must not be the one that counts."""
    needs("pip")
    with make(gated, [*REGISTRIES, "api.test"], secrets={"API_KEY": {"hosts": ["api.test"], "value": "sk-" + TOKEN}}) as rpc:
        rpc.sh("pip install -q requests httpx", timeout=200)
        for program in ["import requests as r; print(r.get(u, headers=h).text)", "import httpx; print(httpx.get(u, headers=h).text)"]:
            out = rpc.sh(f"python3 -c \"import os; u='https://api.test/echo?lib'; h={{'x-key': os.environ['API_KEY']}}; {program}\"", timeout=60)
            assert "***" in dict(json.loads(out)["headers"])["x-key"] and TOKEN not in out
            assert world.header(world.requests(path="/echo?lib")[-1], "x-key") == ["sk-" + TOKEN]
    gated.discard(rpc.sandbox_id)


@pytest.mark.slow
@pytest.mark.hang(300)
def test_registries_as_hosts_of_a_secret(gated):
    """Opened, with compression and ranges turned off: packages still arrive whole, with their checksums."""
    needs("npm")
    needs("pip")
    secrets = {"REGISTRY_TOKEN": {"hosts": REGISTRIES[:3], "value": "npm_" + TOKEN}}
    with make(gated, REGISTRIES[:3], secrets=secrets) as rpc:
        shown = rpc.sh("echo | openssl s_client -connect registry.npmjs.org:443 2>/dev/null | openssl x509 -noout -issuer")
        assert "Warren" in shown
        rpc.sh("mkdir -p /app/npm && cd /app/npm && npm init -y && npm install express", timeout=200)
        assert rpc.sh("cd /app/npm && node -p \"typeof require('express')\"", timeout=60) == "function\n"
        rpc.sh("pip install requests", timeout=200)
        assert rpc.sh("python3 -c 'import requests; print(requests.__name__)'", timeout=60) == "requests\n"
        rpc.sh("mkdir -p /app/deno && cd /app/deno && deno add npm:chalk", timeout=200)
        assert rpc.sh("cd /app/deno && deno eval \"import c from 'npm:chalk'; console.log(typeof c.red)\"", timeout=60) == "function\n"
    gated.discard(rpc.sandbox_id)
