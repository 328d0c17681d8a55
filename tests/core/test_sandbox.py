"""The sandbox stops what it promises to stop, says how, and leaves nothing behind.

The tests that break in do so with harmless requests: if a guard were missing, they would fail
without hurting the machine.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading

import pytest

from jaxrec.core import (
    ConfigError,
    Limits,
    ResourceError,
    run_many,
    run_python,
    sandbox,
    sandbox_child,
)

# Calls of the C library, which the hook of the interpreter does not see.
LIBC = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"


@pytest.fixture(scope="module")
def guards():
    return run_python("").guards


@pytest.fixture
def needs(guards):
    def check(*names):
        missing = set(names) - set(guards)
        if missing:
            pytest.skip(f"this system does not grant the sandbox {sorted(missing)}")

    return check


def test_what_a_program_prints_comes_back():
    outcome = run_python("import sys\nprint(input() * 2)\nprint('é', file=sys.stderr)", stdin="ab")
    assert (outcome.ended, outcome.message, outcome.ok) == ("ok", "", True)
    assert (outcome.stdout, outcome.stderr, outcome.cut) == ("abab\n", "é\n", False)


def test_a_program_is_the_main_module_and_may_use_the_standard_library():
    code = (
        "import dataclasses, pickle, re, tempfile, zoneinfo, sqlite3\n"
        "@dataclasses.dataclass\nclass A:\n    x: int\n"
        "assert __name__ == '__main__' and pickle.loads(pickle.dumps(A(1))) == A(1)\n"
        "with tempfile.NamedTemporaryFile('w') as file: file.write('x')\n"
        "sqlite3.connect('a.db').execute('create table t(x)')\n"
        "open('note', 'w').write('kept')\nprint(open('note').read())"
    )
    outcome = run_python(code)
    assert outcome.stdout == "kept\n", outcome


def test_the_order_of_a_set_is_the_same_each_time():
    code = "print({str(number) for number in range(50)})"
    assert run_python(code).stdout == run_python(code).stdout


@pytest.mark.parametrize(
    "code, message",
    [
        ("assert 1 == 2, 'no'", "AssertionError: no"),
        ("x = = 1", "SyntaxError: invalid syntax (<program>, line 1)"),
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("import os\nos._exit(0)", "the program left early, with exit status 0"),
        ("import ctypes\nctypes.string_at(0)", "the program crashed (SIGSEGV)"),
        ("class E(Exception):\n  def __str__(self): return 1\nraise E", "E (it has no text)"),
        ("x = 'a\0'", "SyntaxError: source code string cannot contain null bytes"),
        ("x = '\ud800'", "UnicodeEncodeError: 'utf-8' codec can't encode"),
        ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_an_error_is_an_exception_with_its_message(code, message):
    outcome = run_python(code)
    # Later versions of Python raise a null byte as another error.
    assert outcome.ended == "exception"
    assert outcome.message.startswith(message)


def test_a_traceback_shows_the_line_of_the_program_and_not_the_sandbox():
    outcome = run_python("def f():\n    return 1 / 0\nf()")
    assert 'File "<program>", line 2, in f\n    return 1 / 0' in outcome.stderr
    assert "sandbox" not in outcome.stderr


def test_an_endless_loop_ends_by_its_cpu_time():
    outcome = run_python("while True: pass", Limits(seconds=60, cpu_seconds=1))
    assert (outcome.ended, outcome.message) == (
        "timeout",
        "the program took more than 1 seconds of CPU time",
    )


def test_a_program_that_sleeps_ends_by_its_wall_time():
    outcome = run_python("import time\nprint(1, flush=True)\ntime.sleep(99)", Limits(seconds=1.5))
    assert (outcome.ended, outcome.stdout) == ("timeout", "1\n")


@pytest.mark.parametrize(
    "code", ["bytearray(10 << 30)", "rows = []\nwhile True: rows.append('a' * (1 << 20))"]
)
def test_memory_is_limited(code):
    assert run_python(code, Limits(memory=128 << 20)).ended == "memory"


@pytest.mark.parametrize(
    "code",
    [
        # Four levels make at most 15 processes, should they not be refused.
        "import os\nfor _ in range(4): os.fork()",
        "import os\nfor _ in range(4):\n  try: os.fork()\n  except OSError: pass",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.system('true')",
        "import os\nos.execv('/bin/true', ['true'])",
        "import threading\nthreading.Thread(target=int).start()",
        "import os\nos.kill(os.getppid(), 0)",
    ],
)
def test_processes_threads_and_signals_are_refused(code):
    outcome = run_python(code)
    assert outcome.ended == "processes"
    assert outcome.message


def test_a_fork_without_the_interpreter_is_refused(needs):
    needs("seccomp")
    code = (
        "import os\nnumber = libc.fork()\nif number == 0: os._exit(0)\nprint(number)\n"
        "print(libc.execv(b'/bin/true', None))\nprint(libc.kill(os.getppid(), 0))"
    )
    assert run_python(LIBC + code).stdout == "-1\n-1\n-1\n"


@pytest.fixture
def server():
    """Listen on this machine, and note who connects."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept():
            try:
                seen.append(listening.accept()[1])
            except OSError:
                return

        thread = threading.Thread(target=accept)
        thread.start()
        yield listening.getsockname()[1], seen
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    "code",
    [
        "import urllib.request\nurllib.request.urlopen('http://localhost:PORT')",
        "import socket\nsocket.create_connection(('127.0.0.1', PORT))",
        "import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', PORT))",
    ],
)
def test_the_network_is_refused(code, server):
    port, seen = server
    outcome = run_python(code.replace("PORT", str(port)))
    assert outcome.ended == "network"
    assert "may not use the network" in outcome.message
    assert not seen


def test_sockets_without_the_interpreter_are_refused(needs):
    needs("seccomp")
    code = "print(libc.socket(2, 1, 0), libc.socket(1, 1, 0), libc.socketpair(1, 2, 0, None))"
    assert run_python(LIBC + code).stdout == "-1 -1 -1\n"


def test_a_pair_of_connected_sockets_works_as_asyncio_needs_it():
    code = "import asyncio\nasync def f(): print('ran')\nasyncio.run(f())"
    assert run_python(code).stdout == "ran\n"


@pytest.mark.parametrize(
    "code",
    [
        "open(PATH, 'w')",
        "import os\nos.open(PATH, os.O_CREAT | os.O_RDWR)",
        "import os\nos.mkdir(PATH)",
        "import os\nopen('a', 'w').close()\nos.rename('a', PATH)",
        "import os\nos.symlink(os.path.dirname(PATH), 'link')\nopen('link/' + PATH[-7:], 'w')",
        "import sqlite3\nsqlite3.connect(PATH)",
        "import os\nos.remove(KEPT)",
        "import os\nos.chmod(KEPT, 0)",
        "open(KEPT, 'r+')",
        "print(open(KEPT).read())",
    ],
)
def test_files_outside_are_neither_written_nor_read(code, tmp_path, needs):
    needs("landlock")
    kept = tmp_path / "kept"
    kept.write_text("secret")
    mode = kept.stat().st_mode
    path = str(tmp_path / "written")
    outcome = run_python(code.replace("PATH", repr(path)).replace("KEPT", repr(str(kept))))
    assert outcome.ended == "file"
    assert outcome.stdout == ""
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]
    assert (kept.read_text(), kept.stat().st_mode) == ("secret", mode)


def test_files_outside_are_closed_to_calls_without_the_interpreter(tmp_path, needs):
    needs("landlock", "seccomp")
    path = os.fsencode(tmp_path / "written")
    code = f"print(libc.open({path!r}, 0o101, 0o666), libc.chmod({os.fsencode(tmp_path)!r}, 0))"
    assert run_python(LIBC + code).stdout == "-1 -1\n"
    assert not list(tmp_path.iterdir())


def test_a_file_is_limited_in_size():
    outcome = run_python("open('a', 'w').write('a' * 100_000)", Limits(file_size=1 << 16))
    assert outcome.ended == "file"


def test_all_files_together_are_limited_where_the_disk_is_its_own(needs):
    needs("disk")
    code = "for number in range(20): open(str(number), 'w').write('a' * 10_000)"
    assert run_python(code, Limits(file_size=1 << 16)).ended == "file"


def test_output_is_cut():
    code = "import sys\nprint('a' * 10_000)\nprint('b' * 10_000, file=sys.stderr)"
    outcome = run_python(code, Limits(output=1000))
    assert outcome.ended == "ok"
    assert outcome.cut
    assert (outcome.stdout, outcome.stderr) == ("a" * 1000, "b" * 1000)


def test_bytes_that_are_no_text_are_replaced():
    code = "import sys\nsys.stdout.buffer.write(b'a\\xff')"
    assert run_python(code).stdout == "a\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("junk", [b"[" * 50_000, b"\xff", b"1", b'{"kind": 3}', b'{"kind": []}'])
def test_junk_in_the_pipe_of_the_report_does_no_harm(junk):
    code = (
        f"import os\nfor pipe in range(3, 20):\n  try: os.write(pipe, b'\\n' + {junk!r} + b'\\n')\n"
        "  except OSError: pass"
    )
    assert run_python(code).ended == "ok"


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    codes = [
        "import os\nos.makedirs('a/b')\nos.mkdir('c', 0)\nopen('d', 'w').close()",
        "1 / 0",
        "import time\ntime.sleep(99)",
        "import os\nos.kill(os.getpid(), 9)",
    ]
    pipes = set(os.listdir("/dev/fd"))
    run_many(codes, Limits(seconds=1), workers=2)
    assert set(os.listdir("/dev/fd")) == pipes
    assert not list(tmp_path.iterdir())
    children = subprocess.run(
        ["ps", "-o", "stat=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True
    ).stdout
    assert "sandbox" not in children
    assert not any(line.startswith("Z") for line in children.splitlines())


def test_an_interrupt_kills_the_program(monkeypatch):
    def interrupt(process, *_):
        seen.append(process)
        raise KeyboardInterrupt

    seen = []
    monkeypatch.setattr(sandbox, "_read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_python("import time\ntime.sleep(99)")
    assert seen[0].returncode == -9


def test_many_programs_keep_their_order_and_their_directories():
    code = "import os\nprint(NUMBER, os.listdir('.'))\nopen('NUMBER', 'w').close()"
    codes = [code.replace("NUMBER", str(number)) for number in range(6)]
    texts = [outcome.stdout for outcome in run_many(codes, workers=3)]
    assert texts == [f"{number} []\n" for number in range(6)]


def test_a_secret_of_the_environment_is_not_seen(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    code = "import os\nprint(os.environ)\nprint(open('/proc/self/environ').read())"
    assert "secret" not in run_python(code).stdout


@pytest.mark.parametrize(
    "code",
    [
        "import os\nif os.fork() == 0: os._exit(0)",
        "import socket\nsocket.socket()",
        "open('../outside', 'w')",
        "import ctypes",
    ],
)
def test_the_hook_alone_refuses_python_s_own_calls(code, tmp_path):
    box = tmp_path / "box"
    box.mkdir()
    script = (
        f"import os, runpy, sys\nchild = runpy.run_path({sandbox_child.__file__!r})\n"
        "def report(kind, message):\n    print(kind, message, flush=True)\n    os._exit(0)\n"
        f"sys.addaudithook(child['audit_hook']({str(box)!r}, report, kernel=False))\n"
        f"exec({code!r})\nprint('nothing was refused')"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=box, capture_output=True, text=True
    )
    assert ran.stdout.split(" ")[0] in ("processes", "network", "file", "")
    assert ran.stdout or "ImportError: the program may not import ctypes" in ran.stderr
    assert not (tmp_path / "outside").exists()


def test_a_child_that_does_not_start_is_an_error(tmp_path, monkeypatch):
    broken = tmp_path / "child.py"
    broken.write_text("raise ValueError('broken')")
    monkeypatch.setattr(sandbox, "_CHILD", broken)
    with pytest.raises(ResourceError, match=r"did not start.*broken"):
        run_python("")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Limits(seconds=0), "seconds must be above 0"),
        (lambda: Limits(cpu_seconds=0), "cpu_seconds must be at least 1"),
        (lambda: Limits(memory=1000), "memory must be a number of bytes"),
        (lambda: Limits(file_size=-1), "file_size must be a number of bytes"),
        (lambda: run_many(["1"], workers=0), "workers must be at least 1, got 0"),
        (lambda: run_many("1"), "codes must be a list"),
    ],
)
def test_bad_settings_are_rejected(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_report_survives_characters_of_any_kind():
    outcome = run_python("raise ValueError('\\x00\\ud800\\n' + 'ü')")
    assert outcome.ended == "exception"
    assert json.loads(json.dumps(outcome.message)) == "ValueError: \x00\ud800\nü"
