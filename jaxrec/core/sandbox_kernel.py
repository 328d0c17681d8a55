"""What the Linux kernel refuses to a process that asks for it: namespaces, Landlock, seccomp.

The child of the sandbox loads this file by its path and calls its functions before it runs a
program. Each function returns whether the kernel granted the guard; a kernel or container that
offers less leaves the others. The rights of a process only shrink here, and nothing gives them
back.

Sources: the manual pages namespaces(7), capabilities(7), landlock(7) and seccomp(2). The file
imports the standard library alone, because the child has nothing else.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Sequence

_NEWNS, _NEWIPC, _NEWUSER, _NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x40000000
_NOSUID, _NODEV = 2, 4
_PDEATHSIG, _SECCOMP, _NO_NEW_PRIVS, _DUMPABLE = 1, 22, 38, 4
_SIGKILL = 9
# Numbers of errors: the calls that a program makes fail with these.
_EPERM, _EAGAIN, _ENOSYS = 1, 11, 38

_READ_FILE, _READ_DIR, _EXECUTE, _WRITE, _TRUNCATE = 1 << 2, 1 << 3, 1 << 0, 1 << 1, 1 << 14
# Rights over files for each version of Landlock's interface, as the number of their bits.
_FILE_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}

# Numbers of system calls. Those that share one table of the kernel are equal everywhere.
_SHARED = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426,
    "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431,
    "fsmount": 432, "fspick": 433, "pidfd_open": 434, "clone3": 435, "pidfd_getfd": 438,
    "process_madvise": 440, "mount_setattr": 442, "process_mrelease": 448, "fchmodat2": 452,
    "setxattrat": 463, "removexattrat": 466,
}  # fmt: skip
_X86_64 = {
    "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "execveat": 322,
    "socket": 41, "connect": 42, "accept": 43, "socketpair": 53, "bind": 49, "listen": 50,
    "accept4": 288, "kill": 62, "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129,
    "rt_tgsigqueueinfo": 297, "prlimit64": 302, "setpriority": 141, "sched_setparam": 142,
    "sched_setscheduler": 144, "sched_setaffinity": 203, "sched_setattr": 314, "ioprio_set": 251,
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
    "chmod": 90, "fchmod": 91, "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94,
    "fchownat": 260, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197,
    "lremovexattr": 198, "fremovexattr": 199, "utime": 132, "utimes": 235, "futimesat": 261,
    "utimensat": 280, "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240,
    "memfd_create": 319, "memfd_secret": 447, "bpf": 321, "keyctl": 250, "add_key": 248,
    "request_key": 249, "userfaultfd": 323, "perf_event_open": 298, "init_module": 175,
    "finit_module": 313, "kexec_load": 246, "kexec_file_load": 320, "reboot": 169, "swapon": 167,
    "swapoff": 168, "sethostname": 170, "setdomainname": 171, "settimeofday": 164,
    "clock_settime": 227, "syslog": 103, "acct": 163, "quotactl": 179, "modify_ldt": 154,
    "open_by_handle_at": 304, "fanotify_init": 300,
}  # fmt: skip
_AARCH64 = {
    "clone": 220, "execve": 221, "execveat": 281,
    "socket": 198, "socketpair": 199, "bind": 200, "listen": 201, "accept": 202, "connect": 203,
    "accept4": 242, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138,
    "rt_tgsigqueueinfo": 240, "prlimit64": 261, "setpriority": 140, "sched_setparam": 118,
    "sched_setscheduler": 119, "sched_setaffinity": 122, "sched_setattr": 274, "ioprio_set": 30,
    "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
    "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
    "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "setxattr": 5, "lsetxattr": 6,
    "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16, "utimensat": 88,
    "shmget": 194, "msgget": 186, "semget": 190, "mq_open": 180, "memfd_create": 279,
    "memfd_secret": 447, "bpf": 280, "keyctl": 219, "add_key": 217, "request_key": 218,
    "userfaultfd": 282, "perf_event_open": 241, "init_module": 105, "finit_module": 273,
    "kexec_load": 104, "kexec_file_load": 294, "reboot": 142, "swapon": 224, "swapoff": 225,
    "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "clock_settime": 112,
    "syslog": 116, "acct": 89, "quotactl": 60, "open_by_handle_at": 265, "fanotify_init": 262,
}  # fmt: skip
_MACHINES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}
# A program may signal and limit itself, and may have a pair of connected stream sockets.
_OWN_PROCESS_ONLY = ("kill", "tgkill", "prlimit64")
_SOCK_TYPE_BITS, _SOCK_STREAM = 0xF, 1
_AGAIN = ("clone", "fork", "vfork")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it is gone."""
    _libc().prctl(_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def enter_namespaces(directory: str, size: int) -> tuple[bool, bool]:
    """Give this process a network of its own without interfaces, and a small disk of its own.

    Args:
      directory: directory where the disk is mounted; only this process sees it.
      size: bytes that the disk holds.

    Returns:
      Whether the network is its own, and whether the disk is.
    """
    libc, user, group = _libc(), os.geteuid(), os.getegid()
    if libc.unshare(_NEWUSER | _NEWNS | _NEWNET | _NEWIPC):
        return libc.unshare(_NEWNET) == 0, False
    try:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    except OSError:
        return True, False
    options = f"size={size},nr_inodes=1000,mode=0700".encode()
    disk = libc.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", _NOSUID | _NODEV, options)
    return True, disk == 0


def drop_privileges() -> bool:
    """Give up every capability, also those of root, and every way to win one back."""
    libc = _libc()
    header = struct.pack("=Ii", 0x20080522, 0)
    dropped = libc.capset(header, bytes(24)) == 0
    return libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and dropped


def restrict_files(writable: Sequence[str], readable: Sequence[str]) -> bool:
    """Refuse all files and directories but those below the given ones, with Landlock.

    Args:
      writable: directories and devices that may be written and read.
      readable: directories and files that may be read.
    """
    libc = _libc()
    version = libc.syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False
    handled = (1 << _FILE_BITS.get(version, 16)) - 1
    network = 3 if version >= 4 else 0  # bind and connect of TCP
    scoped = 3 if version >= 6 else 0  # abstract Unix sockets and signals
    attributes = struct.pack("=QQQ", handled, network, scoped)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = libc.syscall(444, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    if rules < 0:
        return False
    for paths, rights in (
        (writable, handled & ~_EXECUTE),
        (readable, _READ_FILE | _READ_DIR | _EXECUTE),
    ):
        for path in paths:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            own = rights if os.path.isdir(path) else rights & (_READ_FILE | _WRITE | _TRUNCATE)
            rule = struct.pack("=Qi", own & handled, place)
            failed = libc.syscall(445, rules, ctypes.c_uint32(1), rule, ctypes.c_uint32(0))
            os.close(place)
            if failed:
                os.close(rules)
                return False
    restricted = libc.syscall(446, rules, ctypes.c_uint32(0)) == 0
    os.close(rules)
    return bool(restricted)


def refuse_calls() -> bool:
    """Refuse processes, threads, sockets, signals to others and changes of the system (seccomp).

    The call must come after `drop_privileges`. It returns False on machines whose system calls
    this file does not number.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES or struct.calcsize("P") != 8:
        return False
    program = _filter(*_MACHINES[machine])
    code = ctypes.create_string_buffer(program, len(program))
    pointer = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    return bool(_libc().prctl(_SECCOMP, 2, pointer, 0, 0) == 0)


def _filter(architecture: int, numbers: dict[str, int]) -> bytes:
    """Assemble the filter: 8 bytes an instruction, over the number and arguments of a call."""
    load, equal, at_least, mask, result = 0x20, 0x15, 0x35, 0x54, 0x06
    allow, kill, refuse = 0x7FFF0000, 0x80000000, 0x00050000
    number_at, architecture_at, argument_at = 0, 4, 16

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    numbers = {**numbers, **_SHARED}
    parts = [
        step(load, architecture_at),
        step(equal, architecture, 1, 0),
        step(result, kill),
        step(load, number_at),
        # The calls of the x32 interface have this bit; they would pass under other numbers.
        step(at_least, 0x40000000, 0, 1),
        step(result, refuse | _ENOSYS),
    ]
    for name, number in numbers.items():
        if name in _OWN_PROCESS_ONLY:
            # 0 is this process for prlimit64, and for kill its group, which is this process.
            check = [step(load, argument_at), step(equal, os.getpid(), 2, 0), step(equal, 0, 1, 0)]
        elif name == "socketpair":
            kind = argument_at + 8
            check = [
                step(load, kind),
                step(mask, _SOCK_TYPE_BITS),
                step(equal, _SOCK_STREAM, 1, 0),
            ]
        else:
            check = []
        error = _EAGAIN if name in _AGAIN else _ENOSYS if name == "clone3" else _EPERM
        block = [*check, step(result, refuse | error), *([step(result, allow)] if check else [])]
        parts += [step(equal, number, 0, len(block)), *block]
    return b"".join([*parts, step(result, allow)])
