r"""Probing sets of rules: how often a rule notices that it is broken, and how often it errs.

Glaese et al. (2022, arXiv:2209.14375) let people try to make a model break one rule at a time. A
probing set tests the rule in the same spirit: its answers break the rule in ways that are easily
overlooked, or keep it although they look as if they broke it. It is stored as JSON lines:

    {"rule": "no shouting", "prompt": "Hi", "answer": "GO away, NOW", "breaks": true}
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxrec.align.feedback_rules import Rule, violations
from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import files

Exchange = tuple[str, str]
_KEYS = ("rule", "prompt", "answer", "breaks")


@dataclasses.dataclass(frozen=True)
class ProbingSet:
    """Prompts with answers of which people know whether they break a rule.

    Attributes:
      breaking: pairs of prompt and answer that break the rule.
      keeping: pairs of prompt and answer that keep it.

    Raises:
      DataError: either part is empty, or a pair stands twice or in both parts.

    Example:
      >>> ProbingSet(breaking=(("Hi", "GO away, NOW"),), keeping=(("Who flies?", "NASA"),)).breaking
      (('Hi', 'GO away, NOW'),)
    """

    breaking: tuple[Exchange, ...]
    keeping: tuple[Exchange, ...]

    def __post_init__(self) -> None:
        """Reject a set that cannot tell a good rule from a bad one."""
        for name, missed in (("breaking", "violations"), ("keeping", "false alarms")):
            if not getattr(self, name):
                raise DataError(
                    f"a probing set without answers {name} the rule cannot count {missed}; add some"
                )
        seen: set[Exchange] = set()
        for pair in (*self.breaking, *self.keeping):
            if pair in seen:
                raise DataError(
                    f"the answer {files.shown(pair[1])} to the prompt {files.shown(pair[0])} "
                    "stands twice in a probing set; remove one"
                )
            seen.add(pair)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """What a rule said about its probing set.

    Attributes:
      rule: its name.
      hit_rate: share of the breaking answers that the rule reports.
      false_alarm_rate: share of the keeping answers that the rule reports.
      missed: breaking answers, with their prompts, that the rule does not report.
      false_alarms: keeping answers, with their prompts, that the rule reports.
    """

    rule: str
    hit_rate: float
    false_alarm_rate: float
    missed: tuple[Exchange, ...]
    false_alarms: tuple[Exchange, ...]


def probe_rules(
    rules: Sequence[Rule], sets: Mapping[str, ProbingSet], threshold: float = 0.5
) -> list[ProbeReport]:
    """Measure every rule on its own probing set.

    Args:
      rules: with different names.
      sets: probing set of each rule, by its name.
      threshold: a rule reports an answer if it breaks the rule with at least this probability.

    Returns:
      One report for each rule, in the order of the rules.

    Raises:
      ConfigError: no rules, a rule without a probing set, a set without a rule, two rules of one
        name, or a threshold outside (0, 1].
      DataError: a rule returns something that is no probability.

    Example:
      >>> breaking = (("Hi", "GO AWAY"), ("Hi", "GO away, NOW"))
      >>> probes = ProbingSet(breaking, keeping=(("Who flies?", "NASA"),))
      >>> rule = Rule("no shouting", lambda prompt, answer: answer.isupper())
      >>> (report,) = probe_rules([rule], {"no shouting": probes})
      >>> report.hit_rate, report.false_alarm_rate
      (0.5, 1.0)
      >>> report.missed
      (('Hi', 'GO away, NOW'),)
    """
    names = [rule.name for rule in rules]
    if not names:
        raise ConfigError("there are no rules to probe; give some")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two rules are called {twice[0]!r}; rename one")
    if missing := [name for name in names if name not in sets]:
        raise ConfigError(
            f"the rule {missing[0]!r} has no probing set{nearest(missing[0], sets)}; sets: "
            f"{files.listed(sets)}"
        )
    if unknown := [name for name in sets if name not in names]:
        raise ConfigError(
            f"the probing set {files.shown(unknown[0])} belongs to no rule"
            f"{nearest(unknown[0], names)}; rules: {files.listed(names)}"
        )
    if not 0 < threshold <= 1:
        raise ConfigError(f"the threshold must be in (0, 1], got {threshold}")
    return [_report(rule, sets[rule.name], threshold) for rule in rules]


def _report(rule: Rule, probes: ProbingSet, threshold: float) -> ProbeReport:
    def reported(pair: Exchange) -> bool:
        return bool(violations([rule], pair[0], [pair[1]])[0, 0] >= threshold)

    missed = tuple(pair for pair in probes.breaking if not reported(pair))
    alarms = tuple(pair for pair in probes.keeping if reported(pair))
    return ProbeReport(
        rule=rule.name,
        hit_rate=1 - len(missed) / len(probes.breaking),
        false_alarm_rate=len(alarms) / len(probes.keeping),
        missed=missed,
        false_alarms=alarms,
    )


def read_probes(path: str | os.PathLike[str]) -> dict[str, ProbingSet]:
    r"""Read the probing sets of rules from JSON lines; see this module for their keys.

    Returns:
      Name of a rule -> its probing set, in the order of the file.

    Raises:
      DataError: the file is missing or damaged, a line lacks a key or has a bad value, or a rule
        has no answers that break it or none that keep it.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "probes.jsonl"
      >>> one = '{"rule": "calm", "prompt": "Hi", "answer": "%s", "breaks": %s}\n'
      >>> _ = path.write_text(one % ("GO", "true") + one % ("Go", "false"))
      >>> read_probes(path)["calm"].keeping
      (('Hi', 'Go'),)
    """
    path = Path(path)
    found: dict[str, dict[bool, list[Exchange]]] = {}
    for line, record, bad in files.read_json_lines(path):
        if fault := _fault(record):
            bad.add(line, fault)
            continue
        parts = found.setdefault(record["rule"], {True: [], False: []})
        parts[record["breaks"]].append((record["prompt"], record["answer"]))
    sets = {}
    for name, parts in found.items():
        try:
            sets[name] = ProbingSet(tuple(parts[True]), tuple(parts[False]))
        except DataError as error:
            raise DataError(f"{path}: rule {files.shown(name)}: {error}") from error
    return sets


def _fault(record: Mapping[str, object]) -> str:
    keys = f"a probe has the keys {', '.join(_KEYS)}"
    if missing := [key for key in _KEYS if key not in record]:
        return f"no key {missing[0]!r}{nearest(missing[0], files.usual(record))}; {keys}"
    if unknown := [key for key in record if key not in _KEYS]:
        return f"unknown key {files.shown(unknown[0])}; {keys}"
    for key in ("rule", "prompt", "answer"):
        value = record[key]
        # An empty answer may break a rule too.
        if not isinstance(value, str) or (key == "rule" and not value.strip()):
            return f"{key!r} must be a text, got {files.shown(value)}"
    if not isinstance(record["breaks"], bool):
        return f"'breaks' must be true or false, got {files.shown(record['breaks'])}"
    return ""
