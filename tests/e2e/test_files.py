"""The file methods, by the raw client: exact answers, exact errors."""

import base64
import datetime
import hashlib
import os
import re
import stat as stat_module

import pytest

import raw
from raw import RpcFailure


def b64(data):
    return base64.b64encode(data).decode()


def mode(rpc, path):
    return stat_module.S_IMODE(rpc.call("lstat", {"path": path})["mode"])


# --- reading and writing -----------------------------------------------------------------------

CONTENTS = {"empty": b"", "nul": b"\0", "all-bytes": bytes(range(256)) * 3, "text": b"hello\n",
            "64k": b"x" * 65536, "64k+1": b"y" * 65537, "1m": os.urandom(1 << 20)}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("form", ["content", "stream"])
def test_write_and_read(rpc, here, name, form):
    data = CONTENTS[name]
    params = {"path": f"{here}/{name}"}
    if form == "content":
        params["content"] = b64(data)
    else:
        params["contentStreamId"] = rpc.send_all(data, 40000)
    assert rpc.call("writeFile", params) is None
    assert base64.b64decode(rpc.call("readFile", {"path": params["path"]}), validate=True) == data
    assert rpc.sh(f"sha256sum < {params['path']}")[:64] == hashlib.sha256(data).hexdigest()


TEXTS = {"empty": "", "plain": "hello\n", "bom": "\ufeffwith a mark", "wide": "ünï ☃ 😀",
         "quotes": '"\\/\b\f\n\r\t\x7f', "separators": "a\u2028b\u2029c", "nul": "a\0b",
         "long": "é" * 300000}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("form", ["content", "stream"])
def test_write_and_read_text(rpc, here, name, form):
    text = TEXTS[name]
    params = {"path": f"{here}/{name}"}
    if form == "content":
        params["content"] = text
    else:  # cut anywhere, also within characters
        params["contentStreamId"] = rpc.send_all(text.encode(), 65537)
    assert rpc.call("writeTextFile", params) is None
    assert rpc.call("readTextFile", {"path": params["path"]}) == text, "nothing is stripped"


@pytest.mark.parametrize("data,want", [
    (b"a\xffb", "a\ufffdb"), (b"\xe2\x98", "\ufffd"), (b"\xf0\x9f\x98x", "\ufffdx"),
    (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"), (b"\xc0\xaf", "\ufffd\ufffd"),
    (b"\x80\x80z", "\ufffd\ufffdz"), (b"ok\xf8\x88", "ok\ufffd\ufffd"),
], ids=lambda v: v.hex() if isinstance(v, bytes) else "")
def test_invalid_utf8_is_replaced_as_deno_does(rpc, here, data, want):
    rpc.call("writeFile", {"path": here + "/bad", "content": b64(data)})
    assert rpc.call("readTextFile", {"path": here + "/bad"}) == want


def test_write_stream_is_answered_only_after_its_end(rpc, here):
    stream = rpc.open_stream()
    id = rpc.request("writeFile", {"path": here + "/slow", "contentStreamId": stream})
    rpc.enqueue(stream, b"part one, ")
    rpc.enqueue(stream, b"")
    assert rpc.call("envGet", {"key": "HOME"}) == "/home/app"
    assert raw.json.dumps(id) not in rpc.answers, "no answer before the stream has ended"
    rpc.enqueue(stream, b"part two")
    rpc.end_stream(stream)
    assert rpc.value(id) is None
    assert rpc.sh(f"cat {here}/slow") == "part one, part two"


@pytest.mark.parametrize("error,cls,text", [
    ("it broke", "Error", "it broke"), (None, "Error", ""),
    ({"constructorName": "TypeError", "message": "boom"}, "TypeError", "boom"),
], ids=["string", "null", "object"])
def test_failed_upload_fails_the_call(rpc, here, error, cls, text):
    stream = rpc.open_stream()
    id = rpc.request("writeFile", {"path": here + "/never", "contentStreamId": stream})
    rpc.enqueue(stream, b"half")
    rpc.notify("$sandbox.stream.error", {"streamId": stream, "error": error})
    with pytest.raises(RpcFailure) as failure:
        rpc.value(id)
    assert failure.value.cls == cls and text in failure.value.error["message"]


def test_write_stream_to_a_bad_place_fails_and_cancels(rpc):
    stream = rpc.open_stream()
    id = rpc.request("writeFile", {"path": "/no/such/dir/file", "contentStreamId": stream})
    with pytest.raises(RpcFailure) as failure:
        for _ in range(4):
            rpc.enqueue(stream, b"z" * 65536)
        rpc.end_stream(stream)
        rpc.value(id)
    assert failure.value.cls == "NotFound"
    assert rpc.call("envGet", {"key": "HOME"}) == "/home/app"


def test_write_options(rpc, here):
    def write(path, text, **options):
        return rpc.call("writeTextFile", {"path": f"{here}/{path}", "content": text,
                                          "options": options})

    def read(path):
        return rpc.call("readTextFile", {"path": f"{here}/{path}"})

    write("a", "one")
    write("a", "two", append=True)
    assert read("a") == "onetwo"
    write("a", "3")
    assert read("a") == "3", "truncates by default"
    write("new", "made", append=True)
    assert read("new") == "made"
    with pytest.raises(RpcFailure) as failure:
        write("missing", "x", create=False)
    assert (failure.value.cls, failure.value.code) == ("NotFound", "ENOENT")
    write("a", "4", create=False)
    assert read("a") == "4"
    with pytest.raises(RpcFailure) as failure:
        write("a", "x", createNew=True)
    assert (failure.value.cls, failure.value.code) == ("AlreadyExists", "EEXIST")
    assert read("a") == "4"
    write("fresh", "x", createNew=True)
    rpc.sh(f"ln -s nowhere {here}/dangling")
    with pytest.raises(RpcFailure) as failure:
        write("dangling", "x", createNew=True)
    assert failure.value.cls == "AlreadyExists", "anything there counts, a dangling link too"
    write("moded", "x", mode=0o600)
    assert mode(rpc, here + "/moded") == 0o600
    write("moded", "y", mode=0o755)
    assert mode(rpc, here + "/moded") == 0o755, "mode is applied to an existing file too"
    write("plain", "x")
    assert mode(rpc, here + "/plain") == 0o644
    write("bin", "", create=True, createNew=False, append=False, mode=0o640)
    assert read("bin") == ""


def test_writing_follows_links_and_keeps_hard_links(rpc, here):
    rpc.sh(f"cd {here}; echo old > t; ln -s t s; ln t h")
    rpc.call("writeTextFile", {"path": here + "/s", "content": "new"})
    assert rpc.sh(f"cat {here}/t {here}/h") == "newnew"
    assert rpc.call("lstat", {"path": here + "/s"})["isSymlink"] is True


def test_relative_paths_start_at_home(rpc):
    rpc.call("writeTextFile", {"path": "relative.txt", "content": "x"})
    assert rpc.sh("cat /home/app/relative.txt") == "x"
    assert rpc.call("readTextFile", {"path": "./../app/relative.txt"}) == "x"
    rpc.call("remove", {"path": "relative.txt"})


def test_files_of_processes_and_methods_are_the_same_user(rpc, here):
    rpc.call("writeTextFile", {"path": here + "/f", "content": "x"})
    assert rpc.sh(f"stat -c %U:%G {here}/f") == "app:app\n"
    assert rpc.failure("readTextFile", {"path": "/etc/shadow"}).cls == "PermissionDenied"
    assert rpc.failure("writeTextFile", {"path": "/etc/x", "content": ""}).cls == "PermissionDenied"
    assert rpc.failure("readDir", {"path": "/root"}).cls == "PermissionDenied"


# --- folders, links, removal -------------------------------------------------------------------


def test_read_dir(rpc, here):
    rpc.sh(f"cd {here}; touch f .hidden 'b l a n k' $'new\\nline' ü; mkdir d; ln -s d l; "
           "ln -s nowhere x; mkfifo p")
    entries = {e["name"]: e for e in rpc.call("readDir", {"path": here})}
    assert set(entries) == {"f", ".hidden", "b l a n k", "new\nline", "ü", "d", "l", "x", "p"}
    kinds = {n: (e["isFile"], e["isDirectory"], e["isSymlink"]) for n, e in entries.items()}
    assert kinds["f"] == (True, False, False) and kinds["d"] == (False, True, False)
    assert kinds["l"] == kinds["x"] == (False, False, True), "the type of the entry itself"
    assert kinds["p"] == (False, False, False)
    assert rpc.call("readDir", {"path": here + "/d"}) == []
    assert {e["name"] for e in rpc.call("readDir", {"path": here + "/l"})} == set()


def test_read_dir_with_many_entries(server, box, rpc, here):
    rpc.sh(f"cd {here}; seq -f 'file-with-a-rather-long-name-%06g' 12000 | xargs touch")
    entries = rpc.call("readDir", {"path": here})
    assert len(entries) == len({e["name"] for e in entries}) == 12000
    with server.attach(box.sandbox_id, python=True) as python:
        assert python.failure("readDir", {"path": here}).cls == "RangeError", "more than 1 MiB"
        assert python.call("envGet", {"key": "HOME"}) == "/home/app"


def test_names_that_are_not_utf8(rpc, here):
    rpc.sh(f"touch {here}/$'bad\\xffname'")
    assert [e["name"] for e in rpc.call("readDir", {"path": here})] == ["bad\ufffdname"]


def test_mkdir(rpc, here):
    rpc.call("mkdir", {"path": here + "/a"})
    assert mode(rpc, here + "/a") == 0o755
    failure = rpc.failure("mkdir", {"path": here + "/a"})
    assert (failure.cls, failure.code) == ("AlreadyExists", "EEXIST")
    rpc.call("mkdir", {"path": here + "/a", "options": {"recursive": True}})
    rpc.call("mkdir", {"path": here + "/b/c/d/", "options": {"recursive": True, "mode": 0o700}})
    assert rpc.call("stat", {"path": here + "/b/c/d"})["isDirectory"] is True
    assert mode(rpc, here + "/b/c/d") == 0o700
    assert rpc.failure("mkdir", {"path": here + "/x/y"}).cls == "NotFound"
    rpc.sh(f"touch {here}/file")
    failure = rpc.failure("mkdir", {"path": here + "/file", "options": {"recursive": True}})
    assert failure.cls == "AlreadyExists", failure
    failure = rpc.failure("mkdir", {"path": here + "/file/sub", "options": {"recursive": True}})
    assert failure.cls == "NotADirectory", failure
    rpc.sh(f"ln -s a {here}/link")
    rpc.call("mkdir", {"path": here + "/link", "options": {"recursive": True}})


def test_remove(rpc, here):
    rpc.sh(f"cd {here}; touch f; mkdir -p empty full/sub keep; touch full/sub/x keep/me; "
           "ln -s ../keep full/link; ln -s keep l; ln -s nowhere dangling; chmod 500 full/sub; "
           "chmod 700 full/sub")
    for path in ("f", "empty", "l", "dangling"):
        assert rpc.call("remove", {"path": f"{here}/{path}"}) is None
    failure = rpc.failure("remove", {"path": here + "/full"})
    assert (failure.cls, failure.code) == ("Error", "ENOTEMPTY")
    rpc.call("remove", {"path": here + "/full", "options": {"recursive": True}})
    assert rpc.sh(f"ls -R {here}").split() == [f"{here}:", "keep", f"{here}/keep:", "me"], (
        "recursive removal must not follow links")
    failure = rpc.failure("remove", {"path": here + "/nothing"})
    assert (failure.cls, failure.code) == ("NotFound", "ENOENT")
    failure = rpc.failure("remove", {"path": here + "/nothing", "options": {"recursive": True}})
    assert failure.cls == "NotFound"
    rpc.sh(f"touch {here}/one")
    rpc.call("remove", {"path": here + "/one", "options": {"recursive": True}})
    rpc.sh(f"ln -s keep {here}/again")
    rpc.call("remove", {"path": here + "/again", "options": {"recursive": True}})
    assert rpc.sh(f"ls {here}/keep") == "me\n", "a link is removed, not what it points to"


def test_remove_a_deep_tree(rpc, here):
    rpc.sh(f"cd {here}; python3 -c \"import os\nfor i in range(1500):\n os.mkdir('d'); "
           "os.chdir('d')\"")
    rpc.call("remove", {"path": here + "/d", "options": {"recursive": True}})
    assert rpc.call("readDir", {"path": here}) == []


def test_symlink(rpc, here):
    rpc.call("writeTextFile", {"path": here + "/t", "content": "x"})
    for target in ("t", "./t", "../nowhere", "/absolute", "a b ☃", "dir/"):
        path = f"{here}/l{abs(hash(target))}"
        assert rpc.call("symlink", {"target": target, "path": path}) is None
        assert rpc.sh(f"readlink -n {path}") == target, "the target is stored as it is"
    for kind in ("file", "dir", "junction"):
        rpc.call("symlink", {"target": "t", "path": f"{here}/{kind}", "options": {"type": kind}})
    failure = rpc.failure("symlink", {"target": "t", "path": here + "/file"})
    assert failure.cls == "AlreadyExists"
    assert rpc.failure("symlink", {"target": "", "path": here + "/e"}).cls == "NotFound"


# --- stat --------------------------------------------------------------------------------------

BOOLS = ["isFile", "isDirectory", "isSymlink", "isBlockDevice", "isCharDevice", "isFifo", "isSocket"]
NUMBERS = ["size", "mode", "dev", "ino", "nlink", "uid", "gid", "rdev", "blksize", "blocks"]
TIMES = ["mtime", "atime", "birthtime", "ctime"]
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


def check_info(info):
    for key in BOOLS:
        assert isinstance(info[key], bool), key
    for key in NUMBERS:
        assert isinstance(info[key], int) and not isinstance(info[key], bool), key
        assert abs(info[key]) < 2**53, key
    for key in TIMES:
        assert ISO.fullmatch(info[key]), f"{key}: {info[key]!r} is no ISO 8601 time"
    assert sum(info[k] for k in BOOLS) <= 1, "a file has one type"
    return info


def test_stat_of_each_kind(rpc, here):
    rpc.sh(f"cd {here}; printf 12345 > f; chmod 640 f; mkdir d; ln -s f l; mkfifo p; ln f hard; "
           "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'")
    f = check_info(rpc.call("stat", {"path": here + "/f"}))
    assert f["isFile"] and f["size"] == 5 and f["nlink"] == 2
    assert f["mode"] == stat_module.S_IFREG | 0o640, "mode is the full st_mode"
    assert (f["uid"], f["gid"]) == (1000, 1000)
    link = check_info(rpc.call("lstat", {"path": here + "/l"}))
    assert link["isSymlink"] and not link["isFile"] and link["size"] == 1
    assert check_info(rpc.call("stat", {"path": here + "/l"}))["ino"] == f["ino"]
    assert check_info(rpc.call("lstat", {"path": here + "/hard"}))["ino"] == f["ino"]
    assert check_info(rpc.call("stat", {"path": here + "/d"}))["isDirectory"]
    assert check_info(rpc.call("stat", {"path": here + "/p"}))["isFifo"]
    assert check_info(rpc.call("stat", {"path": here + "/s"}))["isSocket"]
    assert check_info(rpc.call("stat", {"path": "/dev/null"}))["isCharDevice"]
    for path in ("/", "/proc", "/proc/self/exe", "/tmp", "/usr/bin/bash", "/home/app"):
        check_info(rpc.call("lstat", {"path": path}))


def test_stat_times(rpc, here):
    rpc.sh(f"cd {here}; touch -d 2001-02-03T04:05:06.789Z f; touch -a -d 1999-12-31T23:59:59Z f; "
           "touch -d 1965-03-04T05:06:07Z old")
    info = rpc.call("stat", {"path": here + "/f"})
    parse = datetime.datetime.fromisoformat
    utc = datetime.timezone.utc
    assert parse(info["mtime"]) == datetime.datetime(2001, 2, 3, 4, 5, 6, 789000, utc)
    assert parse(info["atime"]) == datetime.datetime(1999, 12, 31, 23, 59, 59, 0, utc)
    old = rpc.call("stat", {"path": here + "/old"})
    assert parse(old["mtime"]) == datetime.datetime(1965, 3, 4, 5, 6, 7, 0, utc)
    check_info(old)


# --- errors ------------------------------------------------------------------------------------

ERRORS = [
    ("readFile", {"path": "/x/y"}, "NotFound", "ENOENT"),
    ("readFile", {"path": "/tmp"}, "IsADirectory", "EISDIR"),
    ("readTextFile", {"path": "/tmp"}, "IsADirectory", "EISDIR"),
    ("readFile", {"path": "/etc/passwd/x"}, "NotADirectory", "ENOTDIR"),
    ("readFile", {"path": "{}/loop"}, "FilesystemLoop", "ELOOP"),
    ("readFile", {"path": "/" + "n" * 300}, "Error", "ENAMETOOLONG"),
    ("readFile", {"path": "/etc/shadow"}, "PermissionDenied", "EACCES"),
    ("readFile", {"path": ""}, "NotFound", "ENOENT"),
    ("readTextFile", {"path": "nope"}, "NotFound", "ENOENT"),
    ("writeFile", {"path": "/tmp", "content": ""}, "IsADirectory", "EISDIR"),
    ("writeFile", {"path": "/etc/passwd", "content": ""}, "PermissionDenied", "EACCES"),
    ("writeFile", {"path": "{}/no/x", "content": ""}, "NotFound", "ENOENT"),
    ("writeTextFile", {"path": "{}/loop", "content": ""}, "FilesystemLoop", "ELOOP"),
    ("writeTextFile", {"path": "/proc/version", "content": ""}, "PermissionDenied", "EACCES"),
    ("readDir", {"path": "/x"}, "NotFound", "ENOENT"),
    ("readDir", {"path": "/etc/passwd"}, "NotADirectory", "ENOTDIR"),
    ("mkdir", {"path": "/x/y"}, "NotFound", "ENOENT"),
    ("mkdir", {"path": "/x"}, "PermissionDenied", "EACCES"),
    ("mkdir", {"path": "/etc/passwd/x"}, "NotADirectory", "ENOTDIR"),
    ("remove", {"path": "/x"}, "NotFound", "ENOENT"),
    ("remove", {"path": "/etc/passwd"}, "PermissionDenied", "EACCES"),
    ("stat", {"path": "/x"}, "NotFound", "ENOENT"),
    ("stat", {"path": "{}/loop"}, "FilesystemLoop", "ELOOP"),
    ("stat", {"path": "{}/dangling"}, "NotFound", "ENOENT"),
    ("lstat", {"path": "/x"}, "NotFound", "ENOENT"),
    ("symlink", {"target": "a", "path": "/x"}, "PermissionDenied", "EACCES"),
    ("symlink", {"target": "a", "path": "/x/y"}, "NotFound", "ENOENT"),
]
TEXT = {"ENOENT": ("No such file or directory", 2), "EISDIR": ("Is a directory", 21),
        "ENOTDIR": ("Not a directory", 20), "EACCES": ("Permission denied", 13),
        "ELOOP": ("Too many", 40), "ENAMETOOLONG": ("File name too long", 36)}


@pytest.mark.parametrize("method,params,cls,code", ERRORS,
                         ids=[f"{m}-{c}-{n}" for n, (m, _, _, c) in enumerate(ERRORS)])
def test_errors(rpc, here, method, params, cls, code):
    rpc.sh(f"cd {here}; ln -s loop loop; ln -s nowhere dangling")
    params = {**params, "path": params["path"].format(here)}
    failure = rpc.failure(method, params)
    assert (failure.cls, failure.code) == (cls, code), failure
    text, number = TEXT[code]
    message = failure.error["message"]
    assert text in message and f"(os error {number})" in message, (
        f"'<strerror> (os error N): <op> '<path>'' expected, got {message!r}")
    op = method.lower().replace("textfile", "file")  # as Deno's own functions say it
    assert f"{op} '{params['path'][:50]}" in message or method == "symlink", message


def test_symlink_error_names_both_paths(rpc):
    message = rpc.failure("symlink", {"target": "aa", "path": "/x/y"}).error["message"]
    assert message.endswith("symlink 'aa' -> '/x/y'"), message


@pytest.mark.parametrize("path", ["x" * 4096, "a/" * 3000, "/" * 5000], ids=lambda p: p[:4])
def test_very_long_paths(rpc, path):
    try:
        rpc.call("stat", {"path": path})
    except RpcFailure as failure:
        assert failure.code == "ENAMETOOLONG", failure
    except raw.RpcProtocolError as error:
        assert error.code == -32602 and error.issues[0]["path"] == ["path"], error
    else:
        raise AssertionError("a path of that length cannot be valid")


def test_a_full_device_is_reported(rpc):
    failure = rpc.failure("writeFile", {"path": "/dev/full", "content": b64(b"x" * 100)})
    assert failure.code == "ENOSPC", failure


def test_special_files_can_be_read(rpc):
    assert rpc.call("readTextFile", {"path": "/proc/self/comm"}).strip()
    assert rpc.call("readFile", {"path": "/dev/null"}) == ""
    assert "processor" in rpc.call("readTextFile", {"path": "/proc/cpuinfo"})
