"""Probing sets of rules: rates against scikit-learn, and sets that cannot measure a rule."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from jaxrec.align import ProbingSet, Rule, probe_rules, read_probes
from jaxrec.core import ConfigError, DataError

SHOUTING = ProbingSet(
    breaking=(
        ("Hi", "GO AWAY"),
        ("Hi", "go AWAY, you FOOL"),
        ("Hi", "G O  A W A Y"),
        ("Hi", "N0!"),
    ),
    keeping=(("Who flies to Mars?", "NASA"), ("Hi", "Go away."), ("Hi", "")),
)


def classifier(prompt, answer):
    """The share of capital letters."""
    letters = [letter for letter in answer if letter.isalpha()]
    return sum(map(str.isupper, letters)) / max(1, len(letters))


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.62, 1.0])
def test_rates_are_those_of_a_confusion_matrix(threshold):
    (report,) = probe_rules([Rule("calm", classifier)], {"calm": SHOUTING}, threshold)
    pairs = (*SHOUTING.breaking, *SHOUTING.keeping)
    truth = [True] * len(SHOUTING.breaking) + [False] * len(SHOUTING.keeping)
    said = [classifier(*pair) >= threshold for pair in pairs]
    right, alarms, missed, hits = confusion_matrix(truth, said).ravel()
    assert report.hit_rate == pytest.approx(hits / (hits + missed))
    assert report.false_alarm_rate == pytest.approx(alarms / (alarms + right))
    assert len(report.missed) == missed and len(report.false_alarms) == alarms


def test_every_rule_is_measured_on_its_own_set_and_names_what_it_got_wrong():
    rules = [
        Rule("calm", lambda prompt, answer: answer.isupper()),
        Rule("no echo", lambda prompt, answer: prompt in answer),
    ]
    echo = ProbingSet(breaking=(("Hi", "Hi Hi"), ("Hi", "hi")), keeping=(("Hi", "GO"),))
    calm, no_echo = probe_rules(rules, {"no echo": echo, "calm": SHOUTING})
    assert (calm.rule, no_echo.rule) == ("calm", "no echo")
    assert calm.missed == (("Hi", "go AWAY, you FOOL"),)
    assert calm.false_alarms == (("Who flies to Mars?", "NASA"),)
    assert no_echo.missed == (("Hi", "hi"),) and no_echo.false_alarms == ()
    assert (no_echo.hit_rate, no_echo.false_alarm_rate) == (0.5, 0.0)


def test_rules_that_always_or_never_report_have_both_rates_alike():
    rules = [Rule("always", lambda *_: True), Rule("never", lambda *_: np.float32(0))]
    always, never = probe_rules(rules, {"always": SHOUTING, "never": SHOUTING})
    assert (always.hit_rate, always.false_alarm_rate) == (1, 1)
    assert (never.hit_rate, never.false_alarm_rate) == (0, 0)


def test_sets_that_measure_nothing_are_rejected():
    pair = ("Hi", "GO")
    with pytest.raises(DataError, match="without answers breaking the rule cannot count viol"):
        ProbingSet(breaking=(), keeping=(pair,))
    with pytest.raises(DataError, match="without answers keeping the rule cannot count false al"):
        ProbingSet(breaking=(pair,), keeping=())
    with pytest.raises(DataError, match="answer 'GO' to the prompt 'Hi' stands twice"):
        ProbingSet(breaking=(pair,), keeping=(pair,))


@pytest.mark.parametrize(
    ("rules", "names", "threshold", "message"),
    [
        ([], [], 0.5, "no rules to probe"),
        (["calm"], [], 0.5, "the rule 'calm' has no probing set; sets: none"),
        (["calm"], ["clam"], 0.5, "'calm' has no probing set, did you mean 'clam'"),
        (["calm"], ["calm", "polite"], 0.5, "set 'polite' belongs to no rule; rules: calm"),
        (["calm", "calm"], ["calm"], 0.5, "two rules are called 'calm'"),
        (["calm"], ["calm"], 0.0, r"threshold must be in \(0, 1\], got 0.0"),
        (["calm"], ["calm"], float("nan"), r"threshold must be in \(0, 1\], got nan"),
    ],
)
def test_rules_and_sets_must_fit(rules, names, threshold, message):
    with pytest.raises(ConfigError, match=message):
        probe_rules(
            [Rule(name, classifier) for name in rules], dict.fromkeys(names, SHOUTING), threshold
        )


def test_a_rule_that_returns_no_probability_is_named():
    with pytest.raises(DataError, match="rule 'odd' returned 2 for the answer 'GO AWAY'"):
        probe_rules([Rule("odd", lambda *_: 2)], {"odd": SHOUTING})


ROWS = [
    {"rule": "calm", "prompt": "Hi", "answer": "GO", "breaks": True},
    {"rule": "calm", "prompt": "Hi", "answer": "Go", "breaks": False},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_probing_sets_are_read_by_rule(tmp_path):
    others = [row | {"rule": "short", "breaks": not row["breaks"]} for row in ROWS]
    found = read_probes(write(tmp_path / "probes.jsonl", [*ROWS, *others]))
    assert found == {
        "calm": ProbingSet((("Hi", "GO"),), (("Hi", "Go"),)),
        "short": ProbingSet((("Hi", "Go"),), (("Hi", "GO"),)),
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROWS[0]], "probes.jsonl: rule 'calm': a probing set without answers keeping the rule"),
        ([ROWS[0], *ROWS], "rule 'calm': the answer 'GO' to the prompt 'Hi' stands twice"),
        ([*ROWS, {"rule": "calm"}], "line 3: no key 'prompt'; a probe has the keys rule, prompt"),
        ([*ROWS, ROWS[0] | {"weight": 1}], "line 3: unknown key 'weight'"),
        ([*ROWS, ROWS[0] | {"breaks": 1}], "line 3: 'breaks' must be true or false, got 1"),
        ([*ROWS, ROWS[0] | {"rule": " "}], "line 3: 'rule' must be a text, got ' '"),
        ([*ROWS, ROWS[0] | {"answer": None}], "line 3: 'answer' must be a text, got None"),
    ],
)
def test_bad_probing_sets_are_named(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read_probes(write(tmp_path / "probes.jsonl", rows))
