"""Records of feedback, comparisons by prompt, agreement of labelers, and rules, by hand."""

import itertools
import json
import math
import resource

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import cohen_kappa_score

from jaxrec.align import (
    Feedback,
    Rule,
    agreement_with,
    append_feedback,
    cohen_kappa,
    gather,
    kendall_tau,
    krippendorff_alpha,
    mend_feedback,
    ordered_pairs,
    penalized,
    percent_agreement,
    rating_table,
    read_feedback,
    select_labelers,
    split_prompts,
    violations,
)
from jaxrec.core import ConfigError, DataError, ResourceError

GOOD = {
    "prompt_id": "7",
    "prompt": "Name a film.",
    "answers": ["Heat", "a film", "Alien"],
    "labeler": "ann",
    "kind": "ranking",
    "payload": {"ranks": [1, 3, 1]},
    "time": 5.0,
}
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section E: four observers, twelve
# units; 0 stands for a missing value.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ],
    float,
)
PUBLISHED[PUBLISHED == 0] = np.nan


def feedback(**changed):
    return Feedback.of(GOOD | changed)


def ranking(ranks, **changed):
    answers = [f"answer {k}" for k in range(len(ranks))]
    return feedback(**{"answers": answers, "payload": {"ranks": list(ranks)}} | changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"payload": {"ranks": [1, 2]}}, r"list of 3 ranks, one for each answer, got \[1, 2\]"),
        ({"payload": {"ranks": [1, 2, 4]}}, r"\[1, 2, 4\] are not the ranks of 3 answers"),
        ({"payload": {"ranks": [2, 2, 3]}}, r"are not the ranks of 3 answers"),
        ({"payload": {"ranks": [1, 2, 2.5]}}, r"are not the ranks of 3 answers"),
        ({"payload": {"ranks": [True, 2, 3]}}, r"are not the ranks of 3 answers"),
        ({"payload": {"ranks": [1, 2, math.nan]}}, r"are not the ranks of 3 answers"),
        ({"payload": {"best": 1}}, "payload of a ranking must have the key 'ranks' alone"),
        ({"kind": "rank"}, "no kind 'rank', did you mean 'ranking'"),
        ({"kind": "best", "payload": {"best": 3}}, "from 0 to 2, got 3"),
        ({"kind": "best", "payload": {"best": True}}, "from 0 to 2, got True"),
        ({"kind": "questions", "payload": {"scores": {}}}, "'scores' must map each criterion"),
        ({"kind": "questions", "payload": {"scores": {"kind": [1, 2]}}}, "each of 3 answers"),
        ({"kind": "questions", "payload": {"scores": {"kind": [1, 2, math.nan]}}}, "score nan for"),
        ({"kind": "rules", "payload": {"violations": {"r": [0, 1, 1.5]}}}, "1.5 of 'r' is no prob"),
        ({"labeler": " "}, "'labeler' must be a text, got ' '"),
        ({"answers": ["one"]}, "at least 2 texts for a ranking"),
        ({"answers": "one"}, "'answers' must be a list of texts, got 'one'"),
        ({"time": None}, "'time' must be seconds since 1970, got None"),
        ({"tiem": 1.0}, "unknown key 'tiem', did you mean 'time'"),
    ],
)
def test_a_bad_record_is_named(changed, message):
    with pytest.raises(DataError, match=message):
        feedback(**changed)


@pytest.mark.parametrize("ranks", [[1, 2, 3], [1, 1, 1], [2, 1, 2], [1, 2, 2, 4], [1, 2, 2, 3]])
def test_ranks_with_ties_may_skip_numbers_or_not(ranks):
    assert ranking(ranks).ranks == tuple(ranks)


@pytest.mark.parametrize("key", list(GOOD))
def test_a_missing_key_is_named(key):
    with pytest.raises(DataError, match=f"no key '{key}'"):
        Feedback.of({name: value for name, value in GOOD.items() if name != key})


def test_records_survive_a_file_and_bad_lines_are_numbered(tmp_path):
    path = tmp_path / "feedback.jsonl"
    said = [feedback(prompt="two\nlines \u2028 \ud800"), feedback(labeler="bob")]
    append_feedback(path, *said)
    append_feedback(path, feedback(labeler="cem"))
    assert read_feedback(path) == [*said, feedback(labeler="cem")]
    with pytest.raises(DataError, match=r"line 2: unknown labeler 'bob'.*line 3: .*'cem'"):
        read_feedback(path, ["ann"])
    path.write_text(path.read_text() + json.dumps(GOOD | {"kind": "x"}) + "\n")
    with pytest.raises(DataError, match=r"feedback\.jsonl: 1 bad row.*line 4: no kind 'x'"):
        read_feedback(path)


def test_the_unfinished_line_of_a_killed_writer_is_removed(tmp_path):
    path = tmp_path / "feedback.jsonl"
    assert mend_feedback(path) == ""
    append_feedback(path, feedback())
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    assert mend_feedback(path) == whole[:30].decode()
    assert path.read_bytes() == whole
    # A last line without its end is whole, and the next record must not be joined to it.
    path.write_bytes(whole[:-1])
    assert mend_feedback(path) == ""
    append_feedback(path, feedback(labeler="bob"))
    assert [record.labeler for record in read_feedback(path)] == ["ann", "bob"]
    with pytest.raises(ConfigError, match="packed"):
        mend_feedback(tmp_path / "feedback.jsonl.gz")


def test_a_full_disk_leaves_no_half_of_a_record(tmp_path):
    path = tmp_path / "feedback.jsonl"
    append_feedback(path, feedback())
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 30, hard))
    try:
        with pytest.raises(ResourceError, match=r"cannot write .*feedback\.jsonl: .*free space or"):
            append_feedback(path, feedback(labeler="bob"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole
    append_feedback(path, feedback(labeler="bob"))
    assert [record.labeler for record in read_feedback(path)] == ["ann", "bob"]


def test_a_ranking_gives_all_pairs_but_its_ties():
    for count in (2, 3, 4, 9):
        assert len(ordered_pairs(range(count))) == count * (count - 1) // 2
    for ranks in itertools.product((1, 2, 3), repeat=4):
        ties = sum(a == b for a, b in itertools.combinations(ranks, 2))
        pairs = ordered_pairs(ranks)
        assert len(pairs) == 6 - ties == len(set(pairs))
        assert all(ranks[better] < ranks[worse] for better, worse in pairs)
    with pytest.raises(DataError, match="NaN"):
        ordered_pairs([1, math.nan])


def test_the_records_of_a_prompt_share_its_weight():
    found = gather([ranking([1, 2, 3]), ranking([1, 1, 2], labeler="bob")])
    (row,) = found.rows
    # One record has 3 pairs, the other 2 and a tie; each pair weighs 1 / C(3, 2) / 2.
    expected = np.array([[0, 1, 2], [0, 0, 2], [0, 0, 0]]) / 6
    np.testing.assert_allclose(row.wins, expected, rtol=1e-6)
    assert row.best.tolist() == [0.5, 0, 0]
    assert np.isnan(row.scores).all()
    assert found.pairs == 3 and found.width == 3


def test_equal_answers_and_replaced_records_are_counted():
    records = [
        ranking([2, 1, 3], answers=["a", "b", "a"]),
        ranking([3, 1, 2], answers=["a", "b", "c"], labeler="bob", time=1.0),
        ranking([1, 2, 3], answers=["a", "b", "c"], labeler="bob", time=2.0),
        ranking([3, 2, 1], answers=["a", "b", "c"], labeler="bob", time=0.0),
    ]
    found = gather(records)
    assert found.rejected == {"pairs of equal answers": 1, "records replaced by a later one": 2}
    (row,) = found.rows
    assert row.answers == ("a", "b", "c")
    # b above both a's of the first record; a > b > c of the last record of bob.
    np.testing.assert_allclose(row.wins * 6, [[0, 1, 1], [2, 0, 1], [0, 0, 0]], rtol=1e-6)


def test_scores_are_weighted_means_minus_weighted_violations():
    said = {"answers": ["a", "b"], "kind": "questions"}
    records = [
        feedback(**said, payload={"scores": {"helpful": [5, 1], "harmless": [True, False]}}),
        feedback(**said, labeler="bob", payload={"scores": {"helpful": [3, 1]}}),
        feedback(answers=["a", "b"], kind="rules", payload={"violations": {"no lies": [0.5, 1]}}),
    ]
    weights = {"helpful": 1.0, "harmless": 3.0}
    (row,) = gather(records, weights, {"no lies": 2.0}).rows
    # helpful: 4 and 1; harmless: 1 and 0.
    np.testing.assert_allclose(row.scores, [4 / 4 + 3 / 4 - 1.0, 1 / 4 - 2.0])
    (row,) = gather(records).rows
    np.testing.assert_allclose(row.scores, [2.5, 0.5])
    assert not row.wins.any()
    with pytest.raises(
        DataError, match="no record has the criterion 'helpfull', did you mean 'hel"
    ):
        gather(records, {"helpfull": 1.0})
    with pytest.raises(ConfigError, match=r"weight -1.0 of 'helpful' in criteria"):
        gather(records, {"helpful": -1.0})


def test_a_prompt_has_one_text():
    with pytest.raises(DataError, match="prompt_id '7' has two prompts, 'x' and 'y'"):
        gather([ranking([1, 2], prompt="x"), ranking([1, 2], prompt="y", labeler="bob")])


def test_a_split_keeps_prompts_whole_and_does_not_move_them():
    # Every text of a prompt has two IDs.
    records = [
        ranking([1, 2], prompt_id=f"{n}-{copy}", prompt=f"say {n}")
        for n in range(300)
        for copy in range(2)
    ]
    shares = {"train": 0.6, "valid": 0.1, "test": 0.3}
    parts = split_prompts(gather(records), shares)
    texts = {name: {row.prompt for row in part.rows} for name, part in parts.items()}
    assert set.union(*texts.values()) == {f"say {n}" for n in range(300)}
    assert sum(map(len, texts.values())) == 300
    for name, share in shares.items():
        # Four standard deviations of a binomial share.
        assert abs(len(texts[name]) / 300 - share) < 4 * math.sqrt(share * (1 - share) / 300)
    fewer = split_prompts(gather(records[:200]), shares)
    assert all({row.prompt for row in fewer[name].rows} <= texts[name] for name in shares)
    other = split_prompts(gather(records), shares, seed=1)
    assert {row.prompt for row in other["test"].rows} != texts["test"]
    with pytest.raises(ConfigError, match="add up to 1"):
        split_prompts(gather(records), {"train": 0.5, "test": 0.4})


def test_agreement_of_two_is_that_of_other_libraries():
    rng = np.random.default_rng(0)
    for labels in (2, 3, 7):
        a, b = rng.integers(0, labels, (2, 40)).tolist()
        assert percent_agreement(a, b) == np.mean(np.array(a) == np.array(b))
        assert cohen_kappa(a, b) == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
        assert kendall_tau(a, b) == pytest.approx(kendalltau(a, b).statistic, abs=1e-12)
    # By hand: tau-b of one tie in each of two rankings of three.
    assert kendall_tau([1, 1, 2], [1, 2, 2]) == pytest.approx(0.5)
    assert math.isnan(kendall_tau([1, 1], [1, 2])) and math.isnan(cohen_kappa([1, 1], [1, 1]))
    with pytest.raises(DataError, match="got 1 and 2 of them"):
        percent_agreement([1], [1, 2])


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_krippendorffs_alpha_is_that_of_his_example(level, alpha):
    assert krippendorff_alpha(PUBLISHED, level) == pytest.approx(alpha, abs=5e-4)


def test_alpha_does_not_depend_on_order_and_ignores_single_ratings():
    rng = np.random.default_rng(0)
    shuffled = PUBLISHED[rng.permutation(4)][:, rng.permutation(12)]
    alone = np.concatenate([shuffled, [[9], [np.nan], [np.nan], [np.nan]]], axis=1)
    for level in ("nominal", "ordinal", "interval"):
        expected = krippendorff_alpha(PUBLISHED, level)
        assert krippendorff_alpha(alone, level) == pytest.approx(expected, abs=1e-12)
    noise = rng.integers(0, 3, (3, 20000)).astype(float)
    assert abs(krippendorff_alpha(noise)) < 0.02
    with pytest.raises(DataError, match="all ratings are 1"):
        krippendorff_alpha([[1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(DataError, match="no unit has ratings of two labelers"):
        krippendorff_alpha([[1.0, np.nan], [np.nan, 1.0]])


def test_simulated_labelers_are_put_into_the_order_of_their_accuracy():
    rng = np.random.default_rng(0)
    accuracy = {"eve": 0.55, "dan": 0.65, "cem": 0.75, "bob": 0.85, "ann": 0.95}
    records = []
    for number in range(200):
        best = int(rng.integers(2))
        said = {"answers": ["x", "y"], "kind": "best", "prompt_id": str(number)}
        said["prompt"] = f"prompt {number}"
        records.append(feedback(**said, labeler="gold", payload={"best": best}))
        for who, share in accuracy.items():
            right = rng.random() < share
            records.append(
                feedback(**said, labeler=who, payload={"best": best if right else 1 - best})
            )
    rows = agreement_with(records, "gold")
    found = [row.percent for row in sorted(rows, key=lambda row: accuracy[row.labeler])]
    assert spearmanr(found, sorted(accuracy.values())).statistic == pytest.approx(1)
    assert all(row.units == 200 for row in rows)
    assert select_labelers(rows, 2) == select_labelers(rows, 2, "kappa") == ["ann", "bob"]
    labelers, table = rating_table(records)
    assert table.shape == (6, 400) and set(labelers) == {"gold", *accuracy}
    for who, share in accuracy.items():
        pair = table[[labelers.index("gold"), labelers.index(who)]]
        assert np.mean(pair[0] == pair[1]) == pytest.approx(share, abs=0.1)
    with pytest.raises(DataError, match="unknown labeler 'gild', did you mean 'gold"):
        agreement_with(records, "gild")
    with pytest.raises(ConfigError, match="6 of 5 labelers"):
        select_labelers(rows, 6)


def test_tau_of_a_labeler_is_the_mean_over_prompts():
    records = [
        ranking([1, 2, 3], labeler="gold"),
        ranking([1, 3, 2]),
        ranking([1, 2, 3], labeler="gold", prompt_id="8"),
        ranking([3, 2, 1], prompt_id="8"),
    ]
    (row,) = agreement_with(records, "gold")
    assert row.tau == pytest.approx((1 / 3 - 1) / 2)
    assert row.units == 6 and row.percent == pytest.approx(2 / 6)


def test_penalties_are_monotone_in_weight_and_probability():
    rules = [
        Rule("short", lambda prompt, answer: len(answer) > 3, 2.0),
        Rule("calm", lambda prompt, answer: answer.count("!") / len(answer), 0.5),
    ]
    broken = violations(rules, "Hi", ["ok", "ok!!", "long"])
    assert broken.tolist() == [[0, 1, 1], [0, 0.5, 0]]
    weights = np.array([rule.weight for rule in rules])
    reward = penalized(np.zeros(3), broken, weights)
    assert reward.tolist() == [0, -2.25, -2]
    assert (penalized(np.zeros(3), broken, 2 * weights) <= reward).all()
    assert (penalized(np.zeros(3), np.minimum(broken + 0.1, 1), weights) <= reward).all()
    with pytest.raises(DataError, match="rule 'odd' returned 2 for the answer 'ok'"):
        violations([Rule("odd", lambda prompt, answer: 2)], "Hi", ["ok"])
    with pytest.raises(ConfigError, match="two rules are called 'short'"):
        violations([rules[0], rules[0]], "Hi", ["ok"])
    with pytest.raises(ConfigError, match="weight of the rule 'x'"):
        Rule("x", len, -1.0)
