"""Tables and sweeps of trainings: columns that are found, and numbers that are refused."""

import json

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.runs import (
    PointColumns,
    Points,
    draw_fit,
    drop_highest,
    fit_law,
    isoflop,
    make_points,
    read_points,
    read_sweep_points,
)


def write(path, text):
    path.write_text(text)
    return path


def test_columns_are_found_by_their_usual_names_and_by_given_ones(tmp_path):
    table = write(
        tmp_path / "runs.csv",
        "N,Total Params,D,valid_loss,my loss,seed\n1e6,2e6,1e9,3.5,3.0,0\n2e6,4e6,1e9,3.25,2.5,1\n",
    )
    points = read_points(table)
    assert points.known() == "loss, params, total, tokens"
    assert points.loss.tolist() == [3.5, 3.25]
    assert points.total.tolist() == [2e6, 4e6]
    assert points.need("flops")[0].tolist() == [6e15, 1.2e16]
    given = read_points(table, PointColumns(loss="my loss"))
    assert given.loss.tolist() == [3.0, 2.5]
    curves = write(
        tmp_path / "curves.csv", "run,N,C,loss\na,1e6,6e15,3\nb,1e6,6e15,3\na,1e6,7e15,2\n"
    )
    assert read_points(curves).run.tolist() == [0, 1, 0]
    lines = [{"params": 1e6, "flops": 6e15, "loss": 3.5}, {"params": 2e6, "flops": 6e15, "loss": 3}]
    jsonl = write(tmp_path / "runs.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert read_points(jsonl).need("tokens")[0].tolist() == [1e9, 5e8]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("N,D\n1e6,1e9\n", "no column of losses; columns: N, D; name one with --columns.loss"),
        ("N,params,loss\n1e6,1e6,3\n", "params may be any of the columns N, params"),
        ("N,loss\n1e6,nan\n", "line 2: loss 'nan' is not a number"),
        ("N,loss\n1e6,3\n1e6,-3\n", "row 2: loss is -3, which is not above 0"),
        ("N,loss\n0,3\n1e6,3\n", "row 1: params is 0, which is not above 0"),
        ("N,loss\n70,3\n400,3\n", "params is 70, too small .* not in millions"),
        ("D,loss\n300,3\n400,3\n", "tokens is 300, too small .* not in millions"),
        ("C,loss\n12,3\n40,3\n", "flops is 12, too small .* PF-day"),
        (
            "N,D,C,loss\n1e6,1e9,6e15,3\n1e6,1e9,6e19,3\n",
            r"row 2: 6e\+19 FLOP are 1e\+04 times 6 x",
        ),
        ("N,loss\n", "no rows"),
        ("", "empty file"),
        ("1e6,3\n2e6,4\n", "no column of losses"),
    ],
)
def test_a_table_that_is_no_table_of_trainings_is_refused(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        read_points(write(tmp_path / "runs.csv", text))


def test_a_missing_column_and_one_with_two_roles_are_named(tmp_path):
    table = write(tmp_path / "runs.csv", "size,loss\n1e6,3\n2e6,2.9\n")
    with pytest.raises(DataError, match="no column 'sizes', did you mean 'size'"):
        read_points(table, PointColumns(params="sizes"))
    with pytest.raises(ConfigError, match="column 'size' has two roles"):
        read_points(table, PointColumns(params="size", tokens="size"))


def test_the_highest_losses_are_dropped_with_their_ties():
    loss = np.array([5.0, 1.0, 4.0, 4.0, 2.0])
    points = Points(loss=loss, params=np.arange(5.0))
    assert drop_highest(points, 0) is points
    kept = drop_highest(points, 2)
    assert kept.loss.tolist() == [1, 2]
    assert kept.params.tolist() == [1, 4]
    with pytest.raises(ConfigError, match="--drop-highest 5 leaves no points of 5"):
        drop_highest(points, 5)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(DataError, match=r"params has shape \[2\] and loss \[3\]"):
        make_points({"loss": np.ones(3), "params": np.full(2, 1e6)})


def write_sweep(directory, *, losses=(3.0, 2.75, 2.5, 2.25), fingerprint="a"):
    for k, loss in enumerate(losses):
        run = directory / f"size-{k}-0"
        run.mkdir(parents=True)
        write(run / "config.json", '{"system": "pretrain"}')
        size = 10.0 ** (5 + k / 2)
        report = {
            "rows": {
                "model": {
                    "metrics": {"lm_loss": loss, "bits_per_byte": 1.0},
                    "parameters": 2 * size + 1e5,
                    "parameters_without_vocabulary": size,
                }
            },
            "trained_tokens": 1e7,
            "protocol": {"fingerprint": fingerprint if k else "a"},
        }
        write(run / "model.json", json.dumps(report))
    return directory


def test_runs_of_a_sweep_are_points_with_both_counts(tmp_path):
    points = read_sweep_points(write_sweep(tmp_path / "sweep"))
    assert points.loss.tolist() == [3.0, 2.75, 2.5, 2.25]
    np.testing.assert_allclose(points.params, 10.0 ** (5 + np.arange(4) / 2))
    np.testing.assert_allclose(points.total, 2 * points.params + 1e5)
    assert points.need("tokens")[0].tolist() == [1e7] * 4


def test_a_sweep_that_is_not_finished_or_of_other_data_is_refused(tmp_path):
    sweep = write_sweep(tmp_path / "sweep")
    (sweep / "size-3-0" / "model.json").unlink()
    with pytest.raises(DataError, match="size-3-0: the run is not measured yet"):
        read_sweep_points(sweep)
    report = sweep / "size-2-0" / "model.json"
    write(report, json.dumps({"rows": {"model": {"metrics": {"auc": 0.5}}}}))
    with pytest.raises(DataError, match="has no 'trained_tokens'; only a system that counts"):
        read_sweep_points(sweep)
    row = {"metrics": {"lm_loss": 3.0}, "parameters": 5}
    write(report, json.dumps({"rows": {"model": row}, "trained_tokens": 1e7}))
    with pytest.raises(DataError, match="row 'model' has no 'parameters_without_vocabulary'"):
        read_sweep_points(sweep)
    with pytest.raises(DataError, match="measured on other data"):
        read_sweep_points(write_sweep(tmp_path / "other", fingerprint="b"))
    with pytest.raises(DataError, match="no runs in this directory"):
        read_sweep_points(tmp_path / "sweep" / "size-0-0")


def test_figures_of_each_kind_of_fit_are_drawn():
    n = np.repeat(np.geomspace(1e7, 1e9, 5), 5)
    c = np.tile(np.geomspace(1e18, 1e20, 5), 5)
    d = c / (6 * n)
    points = make_points(
        {"loss": 1.8 + 480 / n**0.35 + 2000 / d**0.37, "params": n, "flops": c, "steps": d / 1e5}
    )
    for law in ("chinchilla", "kaplan", "kaplan-steps", "params"):
        fit = fit_law(law, points, resamples=0)
        assert draw_fit(fit, points)[:4] == b"\x89PNG"
    found = isoflop(points, resamples=0)
    assert b"<svg" in draw_fit(found.fit, points, found, "svg")[:2000]
    with pytest.raises(ConfigError, match="'gif'"):
        draw_fit(found.fit, points, found, "gif")
