"""Sweeps: what is refused before any work, and the figures and tests of the table."""

import dataclasses

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.eval import crossed_interval, crossed_test
from jaxrec.runs.sweep import Sweep, folder, make_sweep
from jaxrec.runs.sweep_rows import Row, report_rows, same_protocol
from jaxrec.runs.sweep_table import sweep_report
from jaxrec.runs.sweep_text import sweep_markdown
from jaxrec.systems.tallrec import TallrecConfig
from jaxrec.systems.vqrec import VqRecConfig
from jaxrec.testing import tiny_config

CONFIG = tiny_config("tiny.csv")
OTHER_DATA = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, min_count=3))
KEPT = dataclasses.replace(CONFIG, decode=dataclasses.replace(CONFIG.decode, filter_seen=False))


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ([CONFIG], "a dictionary from names to configs, or a Sweep, got list"),
        ({}, "has no variants"),
        ({"one": CONFIG, "two": 3}, "variant 'two': int is not the config of a system"),
        ({"one": CONFIG, "a b": CONFIG, "a/b": CONFIG}, "'a b' and 'a/b' would share"),
        ({3: CONFIG}, "variant 3 needs a name"),
        ({"?": CONFIG}, "variant '\\?' needs a name"),
        ({"one": CONFIG, "two": OTHER_DATA}, "two has other settings of data.*min_count 3, not 0"),
        ({"one": CONFIG, "two": KEPT}, "other settings of decode.filter_seen .*False, not True"),
        ({"one": CONFIG, "two": TallrecConfig()}, "two has other settings of data"),
        ({"a": VqRecConfig(), "b": VqRecConfig(share=0.2)}, "a share 0.2 of the users"),
        (Sweep(variants={"one": CONFIG}, against="ones"), "against is 'ones'.* did you mean 'one'"),
        (Sweep(variants={"one": CONFIG}, metrics="auc"), "metrics must be"),
        (
            Sweep(variants={"one": CONFIG, "two": CONFIG}, pairs=(("two", "tow"),)),
            "the pair .* names 'tow', which is no variant, did you mean 'two'",
        ),
    ],
)
def test_a_bad_sweep_is_refused_with_the_fix(sweep, words):
    with pytest.raises(ConfigError, match=words):
        make_sweep(sweep)


def test_a_part_of_a_sweep_keeps_its_reference_if_that_is_there():
    sweep = Sweep(variants={"a": CONFIG, "b": CONFIG, "c": CONFIG}, against="b")
    assert sweep.only(["c", "b"]).reference == "b"
    assert sweep.only(["c", "a"]).reference == "c"
    paired = dataclasses.replace(sweep, pairs=(("a", "c"), ("a", "b")))
    assert paired.only(["c", "a"]).pairs == (("a", "c"),)
    with pytest.raises(ConfigError, match="no variant 'd'"):
        sweep.only(["d"])


def test_a_directory_name_has_letters_digits_and_hyphens():
    assert folder("codes, moved, source's quantizer") == "codes-moved-source-s-quantizer"
    assert folder("cid+iid") == "cid+iid"
    assert folder("../x") == "x"


def per_user(*tables):
    """Rows of one variant, a seed each, with a value per user."""
    return [
        {"": Row(metrics={"ndcg@10": float(t.mean())}, intervals={}, values={"ndcg@10": t})}
        for t in tables
    ]


def test_intervals_and_tests_are_over_users_and_seeds():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 50)), rng.random((3, 50)) + 0.5
    report = sweep_report({"a": per_user(*a), "b": per_user(*b)}, "a", ["ndcg@10"])
    first, second = report["rows"]
    assert [first["name"], second["name"]] == ["a", "b"]
    assert second["metrics"]["ndcg@10"] == pytest.approx(b.mean())
    assert second["by_seed"]["ndcg@10"] == pytest.approx(b.mean(axis=1))
    interval = crossed_interval(b)
    assert second["intervals"]["ndcg@10"] == [interval.low, interval.high]
    (test,) = report["tests"]
    expected = crossed_test(b, a)
    assert (test["a"], test["b"], test["metric"]) == ("b", "a", "ndcg@10")
    assert test["difference"] == pytest.approx(b.mean() - a.mean())
    assert (test["low"], test["high"], test["p"]) == (expected.low, expected.high, expected.p)


def test_without_a_value_per_user_there_are_means_and_no_test():
    rows = {
        name: [
            {"": Row(metrics={"auc": auc + gain}, intervals={"auc": [auc + gain - 0.1, 0.9]})}
            for auc in (0.6, 0.8)
        ]
        for name, gain in (("few", 0.0), ("all", 0.05))
    }
    report = sweep_report(rows, "few", ["auc"])
    assert report["tests"] == []
    assert report["rows"][1]["metrics"]["auc"] == pytest.approx(0.75)
    assert report["rows"][1]["intervals"]["auc"] == pytest.approx([0.65, 0.9])


def test_a_row_that_is_the_same_for_every_variant_stands_once():
    def seed(auc, control, baseline):
        metrics = {"": auc, "control": control, "baseline": baseline}
        return [{name: Row(metrics={"auc": v}, intervals={}) for name, v in metrics.items()}]

    rows = {"few": seed(0.6, 0.7, 0.5), "all": seed(0.8, 0.7, 0.55)}
    names = [row["name"] for row in sweep_report(rows, "few", ["auc"])["rows"]]
    assert names == ["few", "all", "control", "few: baseline", "all: baseline"]


def test_further_tables_of_a_report_are_rows_and_the_first_is_not_repeated():
    first = {"model": {"metrics": {"hr@10": 0.2}, "intervals": {"hr@10": [0.1, 0.3]}}}
    report = {
        "rows": first,
        "tables": {
            "kept": {"rows": {"model": {"metrics": {"hr@10": 0.1}}, "markov": {"metrics": {}}}},
            "removed": {"rows": first},
            "rating": {"item mean": {"rmse": 1.0}},
        },
    }
    rows = report_rows(report)
    assert list(rows) == ["", "kept, model", "kept, markov", "rating, item mean"]
    assert rows[""].intervals == {"hr@10": [0.1, 0.3]}
    assert rows["rating, item mean"].metrics == {"rmse": 1.0}


def test_other_data_in_one_table_are_refused():
    facts = {"fingerprint": "a", "users": 5, "train": 3}
    same_protocol(facts, facts | {"train": 4}, "b")
    with pytest.raises(DataError, match=r"variant 'b' .*\(fingerprint c, not a\)"):
        same_protocol(facts, facts | {"fingerprint": "c"}, "b")


def test_the_table_has_its_tests_on_the_right():
    rng = np.random.default_rng(0)
    a, b = rng.random((1, 40)) / 2, rng.random((1, 40)) / 4
    report = sweep_report({"a": per_user(*a), "b": per_user(*b)}, "a", ["ndcg@10"])
    head, _, first, second = sweep_markdown(report).splitlines()
    assert head == "| row | ndcg@10 | ndcg@10 minus a | p (Holm) |"
    assert first.endswith("|  |  |")
    assert f"| {b.mean() - a.mean():+.3f}".replace("0.", ".") in second


def test_further_pairs_are_tested_and_corrected_together_with_the_others():
    rng = np.random.default_rng(1)
    tables = {name: rng.random((2, 40)) + shift for name, shift in (("a", 0), ("b", 0.1), ("c", 0))}
    rows = {name: per_user(*values) for name, values in tables.items()}
    report = sweep_report(rows, "a", ["ndcg@10"], [("c", "b"), ("b", "a")])
    tested = [(test["a"], test["b"]) for test in report["tests"]]
    # A pair that is tested anyway is tested once.
    assert tested == [("b", "a"), ("c", "a"), ("c", "b")]
    for test in report["tests"]:
        assert test["p"] == crossed_test(tables[test["a"]], tables[test["b"]]).p
    smallest = min(test["p"] for test in report["tests"])
    assert min(test["p_holm"] for test in report["tests"]) == pytest.approx(3 * smallest)
    head, _, *lines = sweep_markdown(report).splitlines()
    assert head.split(" | ")[2:] == [
        "ndcg@10 minus a", "p (Holm)", "ndcg@10 minus b", "p (Holm) |"
    ]  # fmt: skip
    cells = [line.strip("| ").split(" | ") for line in lines]
    assert [bool(row[2:3]) for row in cells] == [False, True, True]
