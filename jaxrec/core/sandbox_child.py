"""The inside of the sandbox: it sets the guards, runs one program and reports how it ended.

`jaxrec.core.sandbox` starts this file as a script of a fresh interpreter, which knows the standard
library alone. Importing it does nothing.

The hook of `sys.addaudithook` sees what a program asks of the interpreter, so that it can say what
was refused. Code that goes around the interpreter goes around the hook; there the kernel's guards
of `jaxrec.core.sandbox_kernel` refuse it.
"""

import errno
import importlib.util
import json
import linecache
import os
import resource
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

_FILE = "<program>"
_LONGEST_MESSAGE = 2000
_NETWORK = {
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyaddr",
    "socket.gethostbyname",
    "socket.getnameinfo",
    "socket.sendmsg",
    "socket.sendto",
}
_PROCESSES = {
    "_thread.start_joinable_thread",
    "_thread.start_new_thread",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pty.spawn",
    "subprocess.Popen",
}
# Events that change a file or directory, with the number of paths among their arguments.
_CHANGES = {
    "os.chmod": 1,
    "os.chown": 1,
    "os.link": 2,
    "os.mkdir": 1,
    "os.remove": 1,
    "os.removexattr": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.setxattr": 1,
    "os.truncate": 1,
    "os.utime": 1,
}
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What a write outside of the directory, or one that is too large, fails with.
_FILE_ERRORS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
}

Report = Callable[[str, str], None]


def audit_hook(box: str, report: Report, kernel: bool) -> Callable[[str, tuple[Any, ...]], None]:
    """Return a hook that ends the program at its first forbidden request.

    Args:
      box: the directory that may be written.
      report: function of the kind and the message; it does not return.
      kernel: whether the kernel guards files and calls too. Without it the program may not load
        `ctypes`, which could undo the hook.

    Example:
      >>> seen = []
      >>> hook = audit_hook("/tmp/box", lambda *what: seen.append(what), kernel=True)
      >>> hook("open", ("/tmp/box/notes", "w", 0))
      >>> hook("open", ("/etc/passwd", "w", 0))
      >>> seen
      [('file', "the program may write only below its directory, not to '/etc/passwd'")]
    """
    box = os.path.realpath(box)
    # The program may replace the functions of the modules, and not these names.
    real, decode, name_of = os.path.realpath, os.fsdecode, ascii
    own, unix, write_flags = os.getpid(), 1, _WRITE_FLAGS

    def inside(path: Any) -> bool:
        if path is None or isinstance(path, int):
            return True
        place = real(decode(path))
        return place == "/dev/null" or place == box or place.startswith(box + os.sep)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(set(mode or "") & set("wax+")) or (flags or 0) & write_flags
            if writes and not inside(path):
                report(
                    "file",
                    f"the program may write only below its directory, not to {name_of(path)}",
                )
        elif event in _CHANGES:
            for path in arguments[: _CHANGES[event]]:
                if not inside(path):
                    report(
                        "file",
                        f"the program may change only what lies in its directory, not "
                        f"{name_of(path)} ({event})",
                    )
        elif event in _PROCESSES:
            report("processes", f"the program may not start processes or threads ({event})")
        elif event in ("os.kill", "os.killpg", "signal.pthread_kill"):
            if event == "os.kill" and arguments[0] != own:
                report("processes", f"the program may not signal other processes ({event})")
        elif event in _NETWORK or (event == "socket.__new__" and arguments[1] != unix):
            report("network", f"the program may not use the network ({event})")
        elif event == "sqlite3.connect" and arguments[0] != ":memory:":
            if not inside(arguments[0]):
                report("file", f"the program may not open {name_of(arguments[0])}")
        elif not kernel and event == "import" and arguments[0] in ("ctypes", "_ctypes", "cffi"):
            raise ImportError(f"the program may not import {arguments[0]} on this system")

    return hook


def explain(error: BaseException) -> tuple[str, str]:
    """Return how a program ended that raised an error: the kind and the message.

    Example:
      >>> explain(ValueError("no such thing"))
      ('exception', 'ValueError: no such thing')
      >>> explain(MemoryError())
      ('memory', 'MemoryError')
    """
    message = type(error).__name__
    try:
        text = str(error)
        message = f"{message}: {text}"[:_LONGEST_MESSAGE] if text else message
    except BaseException:
        # The text of an error may be code of the program, which fails in turn.
        message += " (it has no text)"
    if isinstance(error, MemoryError):
        return "memory", message
    if isinstance(error, OSError) and error.errno in _FILE_ERRORS:
        return "file", message
    if isinstance(error, RuntimeError) and message.endswith("can't start new thread"):
        return "processes", message
    return "exception", message


def _set_limits(limits: dict[str, Any]) -> None:
    for name, soft, hard in (
        ("RLIMIT_CPU", limits["cpu_seconds"], limits["cpu_seconds"] + 1),
        ("RLIMIT_FSIZE", limits["file_size"], limits["file_size"]),
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_NOFILE", 64, 64),
        ("RLIMIT_NPROC", 0, 0),
        ("RLIMIT_AS", limits["memory"], limits["memory"]),
    ):
        which = getattr(resource, name, None)
        if which is None:
            continue
        most = resource.getrlimit(which)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(which, (soft, hard))


def _readable() -> list[str]:
    """List the places that imports and the standard library read."""
    library = os.path.dirname(os.path.realpath(os.__file__))
    return [
        library,
        os.path.join(sys.base_prefix, "lib"),
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/share/zoneinfo",
        "/etc/localtime",
        "/etc/ld.so.cache",
        "/dev/urandom",
        "/dev/random",
        "/dev/zero",
    ]


def _set_guards(task: dict[str, Any]) -> list[str]:
    """Set every guard that there is, and return their names."""
    box, limits = task["box"], task["limits"]
    if sys.platform != "linux":
        _set_limits(limits)
        return ["limits"]
    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sandbox_kernel.py")
    spec = importlib.util.spec_from_file_location("_sandbox_kernel", place)
    assert spec is not None and spec.loader is not None
    kernel = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kernel)
    kernel.die_with_parent(task["parent"])
    network, disk = kernel.enter_namespaces(box, limits["file_size"])
    os.chdir(box)
    _set_limits(limits)
    granted = {
        "limits": True,
        "network": network,
        "disk": disk,
        "privileges": kernel.drop_privileges(),
        "landlock": kernel.restrict_files([box, "/dev/null"], _readable()),
        "seccomp": kernel.refuse_calls(),
    }
    return [name for name, given in granted.items() if given]


def main() -> None:
    """Read the task from the file named first, run it, and report to the pipe named second."""
    with open(sys.argv[1], encoding="utf-8", errors="surrogatepass") as file:
        task = json.load(file)
    pipe = int(sys.argv[2])
    sys.argv = [_FILE]
    write, leave, dump, flush = os.write, os._exit, json.dumps, _flush

    def report(kind: str, message: str) -> None:
        flush()
        write(pipe, dump({"kind": kind, "message": message}).encode() + b"\n")
        leave(0)

    guards = _set_guards(task)
    # Both guards of the kernel read files and devices that the hook need not see.
    sys.addaudithook(audit_hook(task["box"], report, kernel={"landlock", "seccomp"} <= set(guards)))
    write(pipe, dump({"guards": [*guards, "audit"]}).encode() + b"\n")
    code = task["code"]
    linecache.cache[_FILE] = (len(code), None, code.splitlines(keepends=True), _FILE)
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    # Memory that the report needs if the program takes all.
    reserve = bytearray(1 << 20)
    try:
        exec(compile(code, _FILE, "exec"), module.__dict__)
    except BaseException as error:
        del reserve
        kind, message = explain(error)
        _print_traceback(error)
        report(kind, message)
    report("ok", "")


def _print_traceback(error: BaseException) -> None:
    try:
        frames = error.__traceback__
        traceback.print_exception(
            type(error), error, frames and frames.tb_next, file=sys.__stderr__
        )
    except BaseException as other:
        os.write(2, f"{type(error).__name__} ({type(other).__name__} in its traceback)\n".encode())


def _flush() -> None:
    for stream in (sys.stdout, sys.__stdout__, sys.stderr, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except Exception:
            continue


if __name__ == "__main__":
    main()
