"""What a user finds in the default image and in the machine around it."""

import json
import re

import pytest


@pytest.mark.parametrize("command,pattern", [
    ("deno --version", r"deno \d+\.\d+"),
    ("deno eval 'console.log(6*7)'", r"42"),
    ("node --version", r"v(2\d|[3-9]\d)\."),
    ("node -e 'console.log(process.release.name)'", r"node"),
    ("npm --version", r"\d+\."),
    ("readlink -f $(command -v npx)", r"npx"),
    ("python3 -c 'print(6*7)'", r"42"),
    ("git --version", r"git version \d"),
    ("curl --version | head -1", r"curl \d"),
    ("jq -n 6*7", r"42"),
    ("bash --version | head -1", r"GNU bash"),
    ("/usr/sbin/sshd -V 2>&1 || true", r"OpenSSH_\d"),
    ("tar --version | head -1", r"tar"),
    ("ps --version", r"procps"),
    ("sudo --version | head -1", r"Sudo version"),
    ("openssl version", r"OpenSSL 3"),
    ("ip -V", r"iproute2"),
    ("command -v ssh sftp scp | wc -l", r"3"),
])
def test_program(rpc, command, pattern):
    out = rpc.sh(command)
    assert re.search(pattern, out), f"{command} must print {pattern}, got {out!r}"


def test_node_is_real_node_and_not_deno(rpc):
    assert rpc.sh("node -p 'typeof Deno'") == "undefined\n"
    assert rpc.sh("file=$(readlink -f $(command -v node)); basename $file") == "node\n"


def test_debian_13(rpc):
    out = rpc.sh(". /etc/os-release; echo $ID $VERSION_ID $VERSION_CODENAME")
    assert out == "debian 13 trixie\n"


def test_user(rpc):
    assert rpc.sh("id -un; id -u; id -g; echo $HOME; pwd; echo $USER; echo $SHELL") .split("\n")[:6] == [
        "app", "1000", "1000", "/home/app", "/home/app", "app"]
    assert rpc.sh("getent passwd app").strip().split(":")[5:] == ["/home/app", "/bin/bash"]
    assert rpc.sh("stat -c '%U %a' /home/app | cut -d' ' -f1; touch ~/x /app/x; rm ~/x /app/x") == "app\n"


def test_sudo_works_without_password_and_without_a_word(rpc):
    result = rpc.run("sudo", ["id", "-u"])
    assert (result.code, result.out, result.err) == (0, b"0\n", b""), (
        "sudo must print nothing of its own, such as `unable to resolve host`")
    result = rpc.run("sudo", ["-u", "nobody", "id", "-un"])
    assert (result.out, result.err) == (b"nobody\n", b"")
    assert rpc.sh("sudo -n true && echo ok") == "ok\n"
    assert rpc.root("stat -c %U:%a /usr/bin/sudo; echo $HOME").startswith("root:4755")


def test_locale(rpc):
    assert rpc.sh("locale charmap") == "UTF-8\n"
    result = rpc.sh("locale >/dev/null; python3 -c 'print(\"☃\")'; printf ☃ | wc -m", check=False)
    assert (result.out.decode(), result.err) == ("☃\n1\n", b"")


def test_bashrc_is_read_through_bash_env(rpc, here):
    result = rpc.run("bash", ["-c", "true"], env={"BASH_ENV": "$HOME/.bashrc"})
    assert (result.code, result.err) == (0, b"")
    assert rpc.sh("test -f ~/.bashrc && echo there") == "there\n"
    assert rpc.run("bash", ["-lc", "command -v deno node python3 | wc -l"]).out == b"3\n", (
        "a login shell finds the same programs")


def test_disk_is_an_honest_ten_gib(rpc):
    for path in ("/", "/home/app", "/tmp", "/var/tmp"):
        size, used, free = map(int, rpc.sh(f"df -B1 --output=size,used,avail {path} | tail -1").split())
        assert 9.0 * 2**30 < size < 10.5 * 2**30, f"df {path}: about 10 GiB expected, got {size}"
        assert free > 8.5 * 2**30, f"df {path}: {free} bytes free"
    before = int(rpc.sh("df -B1 --output=used / | tail -1"))
    rpc.sh("head -c 50000000 /dev/urandom > ~/fill; sync")
    grown = int(rpc.sh("df -B1 --output=used / | tail -1")) - before
    assert 45_000_000 < grown < 60_000_000, f"df must follow what is written, it grew by {grown}"
    rpc.sh("rm ~/fill")


def test_two_cpus(rpc):
    assert rpc.sh("nproc").strip() == "2" or int(rpc.sh("nproc")) >= 1
    assert json.loads(rpc.sh("node -p 'JSON.stringify(os.cpus().length)'")) >= 1


def test_only_loopback(rpc):
    links = json.loads(rpc.sh("ip -j link"))
    assert [link["ifname"] for link in links] == ["lo"]
    assert "UP" in links[0]["flags"]
    routes = json.loads(rpc.sh("ip -j route show table main")) + json.loads(rpc.sh("ip -j -6 route show default"))
    assert [(r["dst"], r["dev"], r["prefsrc"]) for r in routes] == [("default", "lo", "10.200.0.2"), ("default", "lo", "fd00:5b::2")]


def test_loopback_works_inside(rpc):
    out = rpc.sh("""python3 - <<'X'
import socket, threading
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    s = socket.socket(family); s.bind((host, 0)); s.listen()
    c = socket.create_connection(s.getsockname()[:2]); a, _ = s.accept()
    c.sendall(b"x"); assert a.recv(1) == b"x"
print(socket.gethostbyname("localhost"))
X""")
    assert out == "127.0.0.1\n"


def test_low_ports_for_everyone_or_root(rpc):
    assert rpc.root("python3 -c 'import socket; s=socket.socket(); s.bind((\"127.0.0.1\", 80)); print(1)'"
                    ) == "1\n"


def test_hostname_resolves(rpc):
    assert rpc.sh("getent hosts $(hostname) | wc -l").strip() != "0"
    assert rpc.sh("hostname").strip() not in ("", "localhost")


def test_host_is_not_visible(rpc):
    import socket
    assert rpc.sh("hostname").strip() != socket.gethostname()


def test_devices(rpc):
    names = set(rpc.sh("ls /dev").split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts", "ptmx", "shm", "fd", "stdin",
            "stdout", "stderr"} <= names
    assert not {n for n in names if n.startswith(("sd", "vd", "loop", "kvm", "mem", "kmsg", "fuse"))}, (
        f"no device of the host in /dev: {names}")
    assert rpc.sh("echo x > /dev/shm/x; cat /dev/shm/x; rm /dev/shm/x") == "x\n"
    assert rpc.sh("python3 -c 'import pty; pty.spawn([\"tty\"])'").startswith("/dev/pts/")


def test_apt_and_dpkg_work(rpc):
    assert rpc.sh("dpkg -s bash | grep ^Status") == "Status: install ok installed\n"
    out = rpc.root("""
cd /tmp && rm -rf pkg && mkdir -p pkg/DEBIAN pkg/opt && echo hi > pkg/opt/e2e-file &&
printf 'Package: e2e\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@x>\\nDescription: x\\n' > pkg/DEBIAN/control &&
dpkg-deb -b pkg e2e.deb >/dev/null && dpkg -i e2e.deb >/dev/null 2>&1 && cat /opt/e2e-file &&
dpkg -r e2e >/dev/null 2>&1 && test ! -e /opt/e2e-file && rm -rf pkg e2e.deb""")
    assert out == "hi\n"


def test_resolver(rpc):
    lines = rpc.sh("cat /etc/resolv.conf").splitlines()
    assert lines == ["nameserver 10.200.0.1", "options timeout:2 attempts:2"]


def test_sudo_keeps_what_programs_are_to_believe(rpc):
    names = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
             "PIP_CERT", "DENO_CERT", "DENO_TLS_CA_STORE", "AWS_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"]
    result = rpc.run("sudo", ["env"], env={name: "/x/" + name for name in [*names, "OTHER"]})
    seen = dict(line.split("=", 1) for line in result.out.decode().splitlines())
    assert {name: seen.get(name) for name in names} == {name: "/x/" + name for name in names}
    assert "OTHER" not in seen


def test_package_managers_install_for_the_user(rpc, here):
    assert rpc.sh("npm prefix --global") == "/home/app/.local\n"
    assert rpc.sh("sudo npm prefix --global") == "/usr/local\n"
    rpc.sh(f"""mkdir {here}/node {here}/py && cd {here}/node && echo 'console.log("from npm")' > tool.js &&
sed -i '1i #!/usr/bin/env node' tool.js && echo '{{"name":"e2e-tool","version":"1.0.0","bin":"tool.js"}}' > package.json &&
npm pack --silent >/dev/null && npm install --silent --global --offline --no-audit ./e2e-tool-1.0.0.tgz""")
    assert rpc.sh("e2e-tool") == "from npm\n"
    rpc.sh(f"""cd {here}/py && python3 - <<'X'
import zipfile
with zipfile.ZipFile("e2e_lib-1-py3-none-any.whl", "w") as z:
    z.writestr("e2e_lib.py", "print('from pip')")
    info = "e2e_lib-1.dist-info/"
    z.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: e2e-lib\\nVersion: 1\\n")
    z.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    z.writestr(info + "RECORD", "")
X
pip install --quiet --no-index ./e2e_lib-1-py3-none-any.whl""")
    assert rpc.sh("python3 -c 'import e2e_lib'") == "from pip\n"


def test_apt_knows_debians_own_archive(rpc):
    uris = set(re.findall(r"'(\S+)/InRelease'", rpc.sh("apt-get --print-uris update")))
    assert uris == {f"http://deb.debian.org/{path}" for path in (
        "debian/dists/trixie", "debian/dists/trixie-updates", "debian-security/dists/trixie-security")}


def test_apt_installs_from_an_archive(rpc, here):
    """A small archive on loopback: what needs folders, users and rights inside."""
    out = rpc.sh(f"""cd {here} && mkdir -p pkg/DEBIAN pkg/opt web && echo hi > pkg/opt/e2e-apt &&
printf 'Package: e2e-apt\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@x>\\nDescription: x\\n' > pkg/DEBIAN/control &&
dpkg-deb -b pkg web/e2e-apt.deb >/dev/null && cd web &&
{{ dpkg-deb -f e2e-apt.deb; echo Filename: e2e-apt.deb; echo Size: $(stat -c %s e2e-apt.deb);
echo SHA256: $(sha256sum e2e-apt.deb | cut -d' ' -f1); }} > Packages &&
printf 'Suite: ./\\nSHA256:\\n %s %s Packages\\n' $(sha256sum Packages | cut -d' ' -f1) $(stat -c %s Packages) > Release &&
python3 -m http.server --bind 127.0.0.1 8765 >/dev/null 2>&1 & sleep 0.5
trap 'kill %1' EXIT
cd {here} && until curl -s -o /dev/null http://127.0.0.1:8765/; do sleep 0.1; done
echo 'deb [trusted=yes] http://127.0.0.1:8765/ ./' > one.list
options="-o Dir::Etc::SourceList={here}/one.list -o Dir::Etc::SourceParts=/dev/null"
sudo apt-get -qq $options update && sudo apt-get -qq -y $options install e2e-apt </dev/null >log 2>&1 || cat log
cat /opt/e2e-apt""")
    assert out == "hi\n"


def test_root_owns_the_system_and_can_chown(rpc, here):
    rpc.root(f"touch {here}/r; chown nobody:nogroup {here}/r; chmod 4755 {here}/r")
    assert rpc.sh(f"stat -c %U:%G:%a {here}/r") == "nobody:nogroup:4755\n"
    assert rpc.sh("stat -c %U:%G / /etc /usr /usr/bin/bash | sort -u") == "root:root\n"


def test_system_files_can_be_changed_and_stay_in_this_sandbox(server, rpc):
    rpc.root("echo changed > /etc/e2e-mark; rm -f /usr/share/doc/bash/copyright; "
             "echo '# x' >> /etc/hosts")
    with server.create() as other:
        assert other.sh("test -e /etc/e2e-mark || echo absent; tail -1 /etc/hosts") .startswith("absent")
        assert "# x" not in other.sh("cat /etc/hosts")


def test_time(rpc):
    import time
    assert abs(int(rpc.sh("date +%s")) - time.time()) < 30
    assert rpc.sh("date +%Z") in ("UTC\n", "Etc\n")
