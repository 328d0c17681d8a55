"""The command `python tools/bench`: its list, its options, its header and its last line."""

import dataclasses
import json
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from jaxrec.core import ConfigError

ROOT = Path(__file__).parents[2]
MEASUREMENTS = sorted(
    path.stem
    for path in (ROOT / "tools" / "bench" / "measurements").glob("*.py")
    if path.stem != "__init__"
)


def test_without_a_name_every_measurement_is_listed_with_a_line(command, capsys):
    command["main"]([])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == MEASUREMENTS
    assert all(len(line.split()) > 5 and line.endswith(".") for line in lines)


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_help_explains_every_option_of_a_measurement(bench, command, capsys, name):
    with pytest.raises(SystemExit) as stopped:
        command["main"]([name, "--help"])
    assert not stopped.value.code
    out = capsys.readouterr().out
    assert f"usage: python tools/bench {name}" in out
    options = bench(f"measurements.{name}").Options
    assert options.__dataclass_params__.frozen
    for field in dataclasses.fields(options):
        assert f"      {field.name}: " in options.__doc__
        positional = "Positional" in str(field.type) or "PositionalMarker" in str(field.type)
        assert positional or f"--{field.name.replace('_', '-')}" in out


def test_an_unknown_name_is_refused_with_those_that_exist(command):
    with pytest.raises(ConfigError, match=r"no measurement 'xyz'; measurements: .*decode"):
        command["main"](["xyz"])
    with pytest.raises(ConfigError, match=r"no measurement 'trei', did you mean 'trie'\? Meas"):
        command["main"](["trei"])
    # Like `jaxrec`, it exits with 2 for any wrong argument.
    words = [sys.executable, str(ROOT / "tools" / "bench"), "nosuch"]
    child = subprocess.run(words, capture_output=True, text=True)
    assert child.returncode == 2
    assert child.stderr.startswith("python tools/bench: no measurement 'nosuch'")
    assert len(child.stderr.splitlines()) == 1


def test_an_unknown_row_is_refused_with_those_that_exist(bench):
    choose = bench("support.header").choose
    assert choose("b", ["a", "b"]) == ["b"]
    assert choose("", ["a", "b"]) == ["a", "b"]
    with pytest.raises(ConfigError, match="no row c; rows: a, b"):
        choose("a,c", ["a", "b"])


def test_a_search_step_is_measured_from_header_to_last_line(command, capsys):
    words = "trie --items 100 --shapes 2x32 --codes uniform --batch 2 --beams 4 --repeats 1"
    command["main"](words.split(" "))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("device ") and " cores, load " in lines[0] and " of " in lines[0]
    assert ", jax " in lines[1] and ", optax " in lines[1]
    (row,) = json.loads(lines[-1])["rows"]
    assert {"items", "codes", "levels", "size"} < set(row)
    assert (row["items"], row["codes"], row["levels"], row["size"]) == (100, "uniform", 2, 32)
    assert row["bytes_per_item"] > 0 and row["padded_ratio"] > 0


@pytest.mark.parametrize("catalogue", ["vectors", "codes"])
def test_a_walk_is_compared_with_the_exact_ranking(command, capsys, catalogue):
    words = "parallel_ids --items 400 --small 100 --large 200 --levels 4 --size 16 --users 4 "
    words += "--edges 8 --reverse 2 --starts 40 --beams 4 --steps 2 --group 50 --window 400 "
    words += f"--repeats 1 --catalogue {catalogue}"
    command["main"](words.split())
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 < record["recall_of_exact"] <= 1
    assert record["time_ratio_1m"] > 0 and record["growth_100k_10m"] > 0
    # A window holds all items, so the neighbours are exact, except for items with equal codes.
    assert record["graph_recall"] > 0.9 and record["catalogue"] == catalogue


@pytest.mark.slow
def test_a_step_of_rpg_is_measured_beside_pytorch(command, capsys):
    pytest.importorskip("torch")
    words = "rpg --width 8 --levels 2 --size 8 --items 20 --batch 4 --length 3 --repeats 1"
    command["main"](words.split())
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["ratio"] > 0 and set(record["mean_ms"]) == {
        "at once",
        "place by place",
        "product",
    }


def test_padding_is_that_of_the_counted_batches(command, capsys, tmp_path):
    # Users have 3 + u interactions; two are held out, so the histories have 1 to 4 items.
    rows = [f"u{u},i{n},5,{n}" for u in range(4) for n in range(3 + u)]
    path = tmp_path / "ratings.csv"
    path.write_text("user,item,rating,timestamp\n" + "\n".join(rows) + "\n")
    words = (
        f"packing --data csv --from-file {path} --max-items 4 --batch-size 4 --epochs 1 --buckets 2"
    )
    command["main"](words.split(" "))
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (record["data"], record["max_items"]) == ("csv", 4)
    for layouts in record["layouts"].values():
        assert set(layouts) == {"padded to the maximum", "2 length buckets", "packed, rows of 4"}
        padded = layouts["padded to the maximum"]
        # One batch of 4 x 4 cells holds 1 + 2 + 3 + 4 items.
        assert padded["padding"] == padded["stated"] == 6 / 16
        assert padded["items_per_batch"] == 10


def test_a_failure_is_the_exit_message_and_comes_after_the_last_line(bench, command, capsys):
    table = bench("support.table").Table({"rows": []}, "a table", ("rows differ",))
    trie = bench("measurements.trie")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trie, "run", lambda options: table)
        with pytest.raises(SystemExit, match="rows differ"):
            command["main"](["trie"])
    assert capsys.readouterr().out == 'a table\n{"rows": []}\n'


def test_turns_alternate_after_the_warm_ups(bench):
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = bench("support.timing").measure(runs, 3, warmups=2)
    assert calls == ["a", "b"] * 5
    assert [len(times[name].wall) for name in "ab"] == [len(times[name].cpu) for name in "ab"]
    assert len(times["a"].wall) == 3


def test_a_busy_machine_is_measured_by_its_least_cpu_time(bench):
    times = bench("support.timing").Times(wall=[3.0, 1.0, 9.0], cpu=[5.0, 4.0, 6.0])
    assert (times.typical(busy=False), times.typical(busy=True)) == (3.0, 4.0)


def test_a_busy_machine_decides_no_goal(bench):
    decode = bench("measurements.decode")
    assert decode.verdict(5.0, 2.0, busy=False) == "reached"
    assert decode.verdict(1.0, 2.0, busy=False) == "missed"
    for measured in (1.0, 5.0):
        said = decode.verdict(measured, 2.0, busy=True)
        assert "other work" in said and "reached" not in said and "missed" not in said


def test_work_of_other_processes_is_counted_and_ones_own_is_not(bench, monkeypatch):
    timing = bench("support.timing")
    # In 10 s this process uses 6 s of CPU time, and all processes together 21 s.
    values = {"perf_counter": [0.0, 10.0], "process_time": [2.0, 8.0]}
    clock = types.SimpleNamespace(**{k: (lambda v=v: v.pop(0)) for k, v in values.items()})
    busy = [100.0, 121.0]
    monkeypatch.setattr(timing, "time", clock)
    monkeypatch.setattr(timing, "_busy_seconds", lambda: busy.pop(0))
    assert timing.OtherWork().cores() == pytest.approx((21 - 6) / 10)
    times = timing.Times(others=1.5)
    assert times.disturbed(cores=2) and not times.disturbed(cores=8)
    assert not timing.Times().disturbed(cores=2)


def test_the_system_counts_the_seconds_of_another_process(bench):
    timing = bench("support.timing")
    watch = timing.OtherWork()
    spin = "import time\nwhile time.process_time() < .5: pass"
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", spin], check=True)
    seconds = time.perf_counter() - begun
    assert watch.cores() * seconds > 0.4


def test_each_side_has_as_many_cores_as_threads(bench):
    code = (
        "import os; from support.header import cores, machine_cores, use_threads\n"
        "all = cores(); use_threads(1); print(cores() == 1, machine_cores() == all)\n"
        "use_threads(0); print(cores() == all)"
    )
    place = ROOT / "tools" / "bench"
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True)
    assert done.stdout.split() == ["True"] * 3, done.stderr
    for name in ("decode", "train_step", "sasrec"):
        assert bench(f"measurements.{name}").Options().threads == 1


def test_quant_says_in_its_help_which_data_it_needs(command, capsys):
    with pytest.raises(SystemExit):
        command["main"](["quant", "--help"])
    assert "GSM8K" in capsys.readouterr().out


@pytest.mark.slow
def test_prompts_behind_common_tokens_agree_with_both_ways_of_hugging_face(command, capsys):
    pytest.importorskip("torch")
    words = "prompting --queries 3 --common 60 --max-tokens 4 --width 64 --depth 1 --repeats 1"
    command["main"](words.split(" "))
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (record["agree"], record["agree_tuned"]) == (1.0, 1.0)
    assert record["ratio"] > 0 and record["common_tokens"] >= 60
    assert (record["queries"], record["max_tokens"]) == (3, 4)
