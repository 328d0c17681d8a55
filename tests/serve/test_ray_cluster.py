"""A real Ray cluster: workers that are killed, machines that are lost, and errors of workers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxrec.testing import write_tiny_csv, write_tiny_encoder

from .runs import sasrec_run, without_data

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = pytest.mark.slow

MAIN = "import sys; from jaxrec.cli.main import main; sys.exit(main(sys.argv[1:]))"
RAY = ("--engine", "ray", "--workers", "2")


def jaxrec(*words):
    return [sys.executable, "-c", MAIN, *map(str, words)]


def run(command, code=0):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    _, path = sasrec_run(tmp_path_factory.mktemp("ray"))
    without_data(path)
    return path


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of two machines with a processor each."""
    script = (
        "import sys\nfrom ray.cluster_utils import Cluster\n"
        "c = Cluster(initialize_head=True, head_node_args={'num_cpus': 1})\n"
        "c.add_node(num_cpus=1)\nprint(c.address, flush=True)\nsys.stdin.read()\nc.shutdown()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    address = process.stdout.readline().strip()
    yield address
    process.communicate(timeout=60)


def workers_below(root):
    """Processes of Ray's workers that descend from a process."""
    parents, found = {}, []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            stat = (place / "stat").read_text()
            words = (place / "cmdline").read_text()
        except OSError:
            continue
        pid = int(place.name)
        parents[pid] = int(stat.rpartition(")")[2].split()[1])
        if words.startswith("ray::") and "RayWorker" in words:
            found.append(pid)

    def descends(pid):
        while pid > 1 and pid != root:
            pid = parents.get(pid, 0)
        return pid == root

    return [pid for pid in found if descends(pid)]


def parts(out):
    return {path.name: path.read_bytes() for path in out.glob("part*")}


def test_a_killed_worker_loses_and_repeats_nothing(trained, tmp_path):
    users = tmp_path / "users.jsonl"
    rows = [{"history": [f"i{(n * k) % 30:03d}" for k in (1, 7, 11)]} for n in range(400)]
    users.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["recommend", trained, "--users", users, "--top", "5", "--shard-users", "2", "--out"]
    run(jaxrec(*words, tmp_path / "here"))
    out = tmp_path / "there"
    process = subprocess.Popen(
        jaxrec(*words, out, *RAY), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while len(list(out.glob("part*"))) < 10:
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.005)
    running = workers_below(process.pid)
    assert running
    os.kill(running[0], signal.SIGKILL)
    assert len(list(out.glob("part*"))) < 200
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    assert json.loads(output.splitlines()[-1]) == {"users": 400, "shards": 200, "written": 200}
    assert parts(out) == parts(tmp_path / "here")
    assert "Traceback" not in errors
    # Without a cluster, the work that Ray began ends here.
    (out / "part-00007.parquet").unlink()
    again = run(jaxrec(*words, out))
    assert json.loads(again.stdout.splitlines()[-1])["written"] == 1
    assert parts(out) == parts(tmp_path / "here")


def test_a_cluster_of_two_machines(trained, tmp_path, cluster):
    words = ["recommend", trained, "--users", "all", "--top", "3", "--shard-users", "5", "--out"]
    run(jaxrec(*words, tmp_path / "here"))
    run(jaxrec(*words, tmp_path / "there", *RAY, "--address", cluster))
    assert parts(tmp_path / "there") == parts(tmp_path / "here")
    more = ("--engine", "ray", "--workers", "3", "--address", cluster)
    done = run(jaxrec(*words, tmp_path / "more", *more), 2)
    assert "--workers is 3, but the cluster has room for 2, each with a CPU" in done.stderr
    assert not (tmp_path / "more").exists()


SCRIPT = """
import os, signal, sys, time
import ray.cloudpickle
from jaxrec.core import DataError, JaxrecError, RayEngine
ray.cloudpickle.register_pickle_by_value(sys.modules["__main__"])

def job():
    def work(piece):
        if piece == "bad":
            raise DataError("users.csv, row 7: no item 'x'")
        if piece == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return piece, os.environ["NPROC"], os.environ["JAX_PLATFORMS"], os.getpid()
    return work

with RayEngine(workers=2, address=sys.argv[1]) as engine:
    found = dict(engine.map(job, [f"{n}" for n in range(20)]))
    print(sorted(found) == list(range(20)), [found[n][0] for n in range(20)])
    print(sorted({value[1:3] for value in found.values()}))
    for piece in ("bad", "deadly"):
        try:
            list(engine.map(job, ["1", piece, "2", "3"]))
        except JaxrecError as error:
            print(type(error).__name__, error)
"""


def test_errors_of_workers_arrive_and_deadly_pieces_are_given_up(cluster):
    done = run([sys.executable, "-c", SCRIPT, cluster])
    lines = [line for line in done.stdout.splitlines() if not line.startswith("\x1b")]
    assert lines == [
        f"True {[f'{n}' for n in range(20)]}",
        "[('1', 'cpu')]",
        "DataError users.csv, row 7: no item 'x'",
        lines[3],
    ]
    assert lines[3].startswith("ResourceError piece 1 of the work ended its worker 4 times")


def test_ids_are_those_of_one_process(tmp_path, cluster, monkeypatch):
    table = write_tiny_csv(tmp_path)
    encoder = write_tiny_encoder(tmp_path / "encoder")
    path = tmp_path / "config.py"
    path.write_text(
        "import dataclasses\nfrom jaxrec.testing import tiny_config\n\n\ndef get_config():\n"
        f"    config = tiny_config({str(table)!r})\n"
        f"    ids = dataclasses.replace(config.ids, text_encoder={str(encoder)!r})\n"
        "    return dataclasses.replace(config, ids=ids)\n"
    )
    codes = []
    for name, words in (("here", ()), ("there", (*RAY, "--address", cluster))):
        monkeypatch.setenv("JAXREC_CACHE", str(tmp_path / f"cache-{name}"))
        run(jaxrec("ids", path, "--run-dir", tmp_path / name, *words))
        (vectors,) = (tmp_path / f"cache-{name}" / "text_vectors").iterdir()
        files = [tmp_path / name / "ids" / file for file in ("item_ids.json", "text_vectors.npy")]
        codes.append([file.read_bytes() for file in (vectors, *files)])
    assert codes[0] == codes[1]
