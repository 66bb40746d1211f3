"""Runs inside a sandbox: tries one forbidden thing after the other and prints what came of it.

Each attempt runs in a child of its own, so that one that is killed or succeeds spoils no other.
Output: {"name": "ERRNO" | "ok <value>" | "signal N"}.
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
OUTSIDE_PID = int(os.environ.get("OUTSIDE_PID", "3999999"))
AT_FDCWD = -100
NEW = {"user": 0x10000000, "mnt": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000,
       "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}


def call(number, *args):
    """A raw system call; raises OSError."""
    converted = [ctypes.c_char_p(a) if isinstance(a, bytes) else
                 ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    ctypes.set_errno(0)
    value = libc.syscall(ctypes.c_long(number), *converted)
    if value == -1:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return value


def buffer(data):
    return ctypes.create_string_buffer(data, len(data))


def mount(kind, source=b"none", target=b"/mnt", flags=0):
    return lambda: call(165, source, target, kind, flags, 0)


def unshare(name):
    return lambda: call(272, NEW[name])


def clone(name):
    def run():
        pid = call(56, NEW[name] | signal.SIGCHLD, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return pid
    return run


def clone3_user():
    args = buffer(struct.pack("<11Q", NEW["user"], 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0))
    pid = call(435, args, 88)
    if pid == 0:
        os._exit(0)
    return pid


def perf_event_open():
    attr = buffer(struct.pack("<IIQ", 1, 128, 0) + bytes(112))
    return call(298, attr, 0, -1, -1, 0)


def io_uring_setup():
    return call(425, 8, buffer(bytes(120)))


def bpf_map():
    return call(321, 0, buffer(struct.pack("<5I", 2, 4, 4, 1, 0) + bytes(108)), 128)


def bpf_prog():
    return call(321, 5, buffer(bytes(128)), 128)


def finit_module():
    fd = os.open("/tmp/module.ko", os.O_RDWR | os.O_CREAT, 0o600)
    return call(313, fd, b"", 0)


def mknod(kind, major, minor):
    def run():
        path = "/tmp/node-%d-%d-%d" % (os.getpid(), major, minor)
        os.mknod(path, kind | 0o666, os.makedev(major, minor))
        try:
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        finally:
            os.unlink(path)
    return run


def opener(path, flags):
    return lambda: os.open(path, flags | os.O_NONBLOCK)


def open_by_handle_at():
    handle = buffer(struct.pack("<Ii", 8, 1) + struct.pack("<II", 2, 0))
    fd = os.open("/", os.O_RDONLY)
    return call(304, fd, handle, os.O_RDONLY)


def process_vm(number, pid):
    def run():
        data = buffer(bytes(16))
        local = buffer(struct.pack("<QQ", ctypes.addressof(data), 16))
        remote = buffer(struct.pack("<QQ", 0x400000, 16))
        return call(number, pid, local, 1, remote, 1, 0)
    return run


def pidfd_getfd():
    fd = call(434, 1, 0)
    return call(438, fd, 0, 0)


def sock(family, kind, proto=0):
    return lambda: socket.socket(family, kind, proto).fileno()


def vsock():
    s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    s.settimeout(3)
    s.connect((2, 1024))


def attribute(kind, data):
    text = struct.pack("<HH", 4 + len(data), kind) + data
    return text + bytes(-len(text) % 4)


def netlink(message_type, payload, protocol=0):
    """One request, acknowledged; raises what the kernel answers."""
    def run():
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        s.bind((0, 0))
        s.settimeout(5)
        s.send(struct.pack("<IHHII", 16 + len(payload), message_type, 0x605, 1, 0) + payload)
        answer = s.recv(4096)
        error = -struct.unpack_from("<i", answer, 16)[0]
        if error:
            raise OSError(error, os.strerror(error))
    return run


def in_32_bit_mode(number, first=0):
    """The same kernel by its other door: int 0x80 with the numbers of i386."""
    def run():
        code = b"\x53\xbb" + struct.pack("<I", first) + b"\xb8" + struct.pack("<I", number)
        code += b"\x31\xc9\x31\xd2\xcd\x80\x48\x98\x5b\xc3"
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        value = ctypes.CFUNCTYPE(ctypes.c_long)(address)()
        if -4096 < value < 0:
            raise OSError(-value, os.strerror(-value))
        return value
    return run


def writer(path, text):
    def run():
        fd = os.open(path, os.O_WRONLY)
        return os.write(fd, text)
    return run


def reader(path):
    def run():
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return len(os.read(fd, 16))
    return run


S_IFCHR, S_IFBLK = 0o020000, 0o060000

PROBES = {
    # file systems
    "mount-proc": mount(b"proc"), "mount-sysfs": mount(b"sysfs"), "mount-cgroup": mount(b"cgroup"),
    "mount-cgroup2": mount(b"cgroup2"), "mount-debugfs": mount(b"debugfs"),
    "mount-tracefs": mount(b"tracefs"), "mount-securityfs": mount(b"securityfs"),
    "mount-bpf": mount(b"bpf"), "mount-ext4": mount(b"ext4", b"/dev/vda"),
    "mount-loop-file": mount(b"ext4", b"/tmp/disk.img"), "mount-erofs": mount(b"erofs", b"/tmp/disk.img"),
    "mount-overlay": mount(b"overlay"), "mount-fuse": mount(b"fuse"), "mount-nfs": mount(b"nfs"),
    "mount-binfmt": mount(b"binfmt_misc"), "mount-mqueue": mount(b"mqueue"),
    "mount-devpts": mount(b"devpts"),
    "remount-proc-sys": mount(b"", b"none", b"/proc/sys", 32 | 4096),
    "remount-root-dev": mount(b"", b"none", b"/", 32),
    "bind-over-proc": mount(b"", b"/tmp", b"/proc", 4096),
    "make-shared": mount(b"", b"none", b"/", 1 << 20 | 16384),
    "umount-proc-sys": lambda: call(166, b"/proc/sys", 2),
    "umount-proc": lambda: call(166, b"/proc", 2), "umount-root": lambda: call(166, b"/", 2),
    "pivot-root": lambda: call(155, b"/", b"/"),
    "open-tree-clone": lambda: call(428, AT_FDCWD, b"/", 1), "fsopen": lambda: call(430, b"proc", 0),
    "fspick": lambda: call(433, AT_FDCWD, b"/", 0), "move-mount": lambda: call(429, AT_FDCWD, b"/tmp", AT_FDCWD, b"/mnt", 0),
    "mount-setattr": lambda: call(442, AT_FDCWD, b"/proc/sys", 0, buffer(struct.pack("<4Q", 0, 1, 0, 0)), 32),
    "open-by-handle": open_by_handle_at, "quotactl": lambda: call(179, 0x800007 << 8, b"/dev/vda", 0, 0),
    "swapon": lambda: call(167, b"/tmp/swap", 0), "acct": lambda: call(163, b"/tmp/acct"),
    "fanotify": lambda: call(300, 0, 0),
    # kernel interfaces
    "bpf-map": bpf_map, "bpf-prog": bpf_prog, "perf-event-open": perf_event_open,
    "userfaultfd": lambda: call(323, 0), "userfaultfd-user-mode": lambda: call(323, 1),
    "io-uring-setup": io_uring_setup, "io-uring-register": lambda: call(427, -1, 0, 0, 0),
    "keyctl-session": lambda: call(250, 0, -3, 0), "keyctl-join": lambda: call(250, 1, b"e2e"),
    "add-key": lambda: call(248, b"user", b"e2e", buffer(b"x"), 1, -3),
    "request-key": lambda: call(249, b"user", b"e2e", 0, 0),
    "init-module": lambda: call(175, buffer(b"x" * 64), 64, b""), "finit-module": finit_module,
    "delete-module": lambda: call(176, b"loop", 0), "create-module-gone": lambda: call(174, b"x", 10),
    "kexec-load": lambda: call(246, 0, 0, 0, 0), "kexec-file-load": lambda: call(320, -1, -1, 0, 0, 0),
    "reboot": lambda: call(169, 0xFEE1DEAD, 672274793, 0, 0), "iopl": lambda: call(172, 3),
    "ioperm": lambda: call(173, 0, 8, 1), "syslog": lambda: call(103, 3, buffer(bytes(64)), 64),
    "settimeofday": lambda: call(164, buffer(struct.pack("<qq", 1, 0)), 0),
    "clock-settime": lambda: call(227, 0, buffer(struct.pack("<qq", 1, 0))),
    "adjtimex": lambda: call(159, buffer(struct.pack("<I", 1) + bytes(204))),
    "lookup-dcookie": lambda: call(212, 1, buffer(bytes(16)), 16), "nfsservctl": lambda: call(180, 0, 0, 0),
    "setdomainname": lambda: call(171, b"evil", 4), "vhangup": lambda: call(153),
    "modify-bpf-x32": lambda: call(0x40000000 | 321, 0, buffer(bytes(128)), 128),
    "i386-unshare-user": in_32_bit_mode(310, NEW["user"]), "i386-bpf": in_32_bit_mode(357),
    "i386-keyctl": in_32_bit_mode(288), "i386-mount": in_32_bit_mode(21),
    # namespaces
    **{"unshare-" + n: unshare(n) for n in NEW}, "clone-user": clone("user"), "clone-mnt": clone("mnt"),
    "clone3-user": clone3_user, "setns-junk": lambda: call(308, 0, NEW["net"]),
    # processes
    "ptrace-init": lambda: call(101, 0x4206, 1, 0, 0), "ptrace-attach-init": lambda: call(101, 16, 1, 0, 0),
    "ptrace-outside": lambda: call(101, 0x4206, OUTSIDE_PID, 0, 0),
    "vm-read-init": process_vm(310, 1), "vm-write-init": process_vm(311, 1),
    "vm-read-outside": process_vm(310, OUTSIDE_PID), "pidfd-getfd-init": pidfd_getfd,
    "kill-outside": lambda: os.kill(OUTSIDE_PID, 0), "pidfd-outside": lambda: call(434, OUTSIDE_PID, 0),
    "kcmp-init": lambda: call(312, os.getpid(), 1, 0, 0, 0), "rlimit-of-init": lambda: call(302, 1, 7, 0, buffer(bytes(16))),
    "init-mem-read": reader("/proc/1/mem"), "init-mem-write": opener("/proc/1/mem", os.O_RDWR),
    "init-environ": reader("/proc/1/environ"), "init-maps": reader("/proc/1/maps"),
    "init-exe": lambda: os.readlink("/proc/1/exe"), "init-exe-open": opener("/proc/1/exe", os.O_RDONLY),
    "init-root": lambda: os.listdir("/proc/1/root/"), "init-cwd": lambda: os.listdir("/proc/1/cwd/"),
    "init-fd": lambda: os.listdir("/proc/1/fd"), "init-fd-open": opener("/proc/1/fd/3", os.O_RDWR),
    "init-stack": reader("/proc/1/stack"), "init-syscall": reader("/proc/1/syscall"),
    "init-oom-score": writer("/proc/1/oom_score_adj", b"1000"),
    "own-oom-score-down": writer("/proc/self/oom_score_adj", b"-1000"),
    # devices
    "mknod-mem": mknod(S_IFCHR, 1, 1), "mknod-kmsg": mknod(S_IFCHR, 1, 11), "mknod-sda": mknod(S_IFBLK, 8, 0),
    "mknod-vda": mknod(S_IFBLK, 254, 0), "mknod-loop": mknod(S_IFBLK, 7, 0), "mknod-kvm": mknod(S_IFCHR, 10, 232),
    "mknod-fuse": mknod(S_IFCHR, 10, 229), "mknod-tun": mknod(S_IFCHR, 10, 200),
    **{"dev-" + n: opener("/dev/" + n, os.O_RDWR) for n in
       ("mem", "kmem", "port", "kmsg", "sda", "vda", "loop0", "loop-control", "kvm", "fuse", "net/tun", "vsock",
        "vhost-net", "mapper/control", "userfaultfd", "console", "tty0", "autofs", "cpu/0/msr", "nvram", "snapshot")},
    # /proc and /sys
    "core-pattern": writer("/proc/sys/kernel/core_pattern", b"|/tmp/evil"),
    "modprobe-path": writer("/proc/sys/kernel/modprobe", b"/tmp/evil"),
    "hostname-sysctl": writer("/proc/sys/kernel/hostname", b"evil"),
    "ip-forward": writer("/proc/sys/net/ipv4/ip_forward", b"1"),
    "drop-caches": writer("/proc/sys/vm/drop_caches", b"1"), "sysrq": writer("/proc/sysrq-trigger", b"h"),
    "uevent-helper": writer("/sys/kernel/uevent_helper", b"/tmp/evil"),
    "cgroup-release-agent": writer("/sys/fs/cgroup/release_agent", b"/tmp/evil"),
    "cgroup-memory-limit": writer("/sys/fs/cgroup/memory/memory.limit_in_bytes", b"-1"),
    "cgroup-mkdir": lambda: os.mkdir("/sys/fs/cgroup/evil"),
    "kcore": reader("/proc/kcore"), "kmsg": reader("/proc/kmsg"), "kpageflags": reader("/proc/kpageflags"),
    "kpagecount": reader("/proc/kpagecount"), "debugfs": lambda: os.listdir("/sys/kernel/debug/"),
    "firmware": lambda: os.listdir("/sys/firmware/dmi"), "efivars": lambda: os.listdir("/sys/firmware/efi"),
    "sched-debug": reader("/proc/sched_debug"), "keys": reader("/proc/keys"), "timer-list": reader("/proc/timer_list"),
    "acpi": lambda: os.listdir("/proc/acpi/") or 1 / 0, "scsi": lambda: os.listdir("/proc/scsi/") or 1 / 0,
    # network
    "af-packet": sock(socket.AF_PACKET, socket.SOCK_RAW), "af-vsock": vsock,
    "raw-icmp": sock(socket.AF_INET, socket.SOCK_RAW, 1),
    "netfilter": lambda: call(54, socket.socket(socket.AF_INET, socket.SOCK_RAW, 255).fileno(), 0, 64, 0, 0),
    "nftables": netlink(0xA01, bytes(4), 12),
    "link-add": netlink(16, struct.pack("<BBHiII", 0, 0, 0, 0, 0, 0)
                        + attribute(18, attribute(1, b"dummy\0"))),
    "lo-down": netlink(16, struct.pack("<BBHiII", 0, 0, 0, 1, 0, 1)),
    "address-add": netlink(20, struct.pack("<BBBBI", 2, 24, 0, 0, 1)
                           + attribute(2, bytes([10, 9, 8, 7]))),
    "route-add": netlink(24, struct.pack("<8BI", 2, 0, 0, 0, 254, 3, 253, 1, 0)
                         + attribute(4, struct.pack("<I", 1))),
}


def attempt(function):
    """Runs it in a child; returns what came of it as text."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            text = "ok %r" % (function(),)
        except OSError as e:
            text = errno.errorcode.get(e.errno, str(e))
        except ZeroDivisionError:
            text = "empty"
        except BaseException as e:
            text = "python %r" % e
        os.write(w, text.encode()[:4000])
        os._exit(0)
    os.close(w)
    text = os.fdopen(r, "rb").read().decode()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "signal %d" % os.WTERMSIG(status)
    return text


def writable_files(*roots):
    """Files below roots that can be opened for writing (nothing is written)."""
    found = []
    for root in roots:
        for folder, folders, files in os.walk(root):
            if folder == "/proc":
                folders[:] = [f for f in folders if not f.isdigit() and f not in ("self", "thread-self")]
            for name in files:
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    continue
                try:
                    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW))
                    found.append(path)
                except OSError:
                    pass
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["writable"]:
        print(json.dumps(writable_files("/proc", "/sys")))
    else:
        os.makedirs("/tmp/probe-work", exist_ok=True)
        names = sys.argv[1:] or list(PROBES)
        print(json.dumps({name: attempt(PROBES[name]) for name in names}))
