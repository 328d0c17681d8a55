"""The tables of a comparison in Markdown, and their place in a document."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import ConfigError, DataError, write_text
from jaxrec.eval.beyond_accuracy import QUALITIES

BEGIN, END = "<!-- comparison -->", "<!-- end of comparison -->"
_HEADLINE = ("hr@10", "ndcg@10")
_COST = ("parameters", "fit s", "test s")
# Below this HR@10 of the best row all figures have a fourth digit, as publications print them.
_LOW = 0.15


def markdown(report: Mapping[str, Any]) -> str:
    """Three tables: accuracy and cost, qualities of the lists, and slices of users and items.

    Args:
      report: the result of `runs.compare.table`, with "protocol".
    """
    rows, tests = report["rows"], {test["system"]: test for test in report["comparisons"]}
    against = report["reference"]
    facts = report["protocol"]
    both = all(row["other"] for row in rows.values())
    other = {"kept": "removed", "removed": "kept"}[facts["seen_items"]] if both else ""
    best = max(row["metrics"][_HEADLINE[0]] for row in rows.values())
    digits = 3 if best >= _LOW else 4
    accuracy = [
        [
            *("system", "HR@10", "NDCG@10"),
            *([f"HR@10, seen {other}", f"NDCG@10, seen {other}"] if other else []),
            *(f"NDCG@10 minus {against}", "p (Holm)", "seeds", *_COST),
        ]
    ]
    for name, row in rows.items():
        cells = [_interval(row["metrics"][m], row["intervals"][m], digits) for m in _HEADLINE]
        if other:
            given, ends = row["other"], row["other_intervals"]
            cells += [_interval(given[m], ends[m], digits) for m in _HEADLINE]
        test = tests.get(name)
        difference = [
            _difference(test["difference"], test["interval"], digits) if test else "",
            _short(test["p_holm"]) if test else "",
        ]
        cost = [f"{row['parameters']:,}", f"{row['fit_seconds']:.0f}", f"{row['test_seconds']:.1f}"]
        accuracy.append([name, *cells, *difference, str(row["seeds"]), *cost])
    names = [name for name in QUALITIES if all(name in row["quality"] for row in rows.values())]
    quality = [["system", *(name.replace("_", " ") for name in names)]]
    for name, row in rows.items():
        quality.append([name, *(f"{row['quality'][q]:.3g}" for q in names)])
    groups = list(next(iter(rows.values()))["slices"])
    slices = [["NDCG@10", *groups]]
    for name, row in rows.items():
        slices.append([name, *(_short(row["slices"][group], digits) for group in groups)])
    known = f" (a share {facts['known_share']:g} known)" if "known_share" in facts else ""
    return "\n".join(
        [
            f"{facts['dataset']}: {facts['users']:,} users{known}, {facts['ranking']}, "
            f"{seen_rule(facts)}; {facts['split']}; ties in time: {facts['ties']}.",
            "",
            *(line for table in (accuracy, quality, slices) for line in [*_table(table), ""]),
        ]
    )


def seen_rule(facts: Mapping[str, Any]) -> str:
    """Say in a few words which items a ranking leaves out, given the facts of its protocol.

    Example:
      >>> seen_rule({"seen_items": "removed", "repeated_target": "ranked", "repeated_users": 3})
      'seen items removed (but a target that the user has met is ranked: 3 users)'
      >>> seen_rule({"seen_items": "kept"})
      'seen items kept'
    """
    text = f"seen items {facts['seen_items']}"
    rule = facts.get("repeated_target")
    if rule is None:
        return text
    users = facts["repeated_users"]
    count = f"{users:,} user" + ("" if users == 1 else "s")
    if rule == "ranked":
        return f"{text} (but a target that the user has met is ranked: {count})"
    return f"{text} (a target that the user has met is a miss: {count})"


def replace_section(path: Path, text: str | None) -> None:
    r"""Write `text` between the two marks of a document; None only checks that the marks exist.

    Raises:
      DataError: the file cannot be read.
      ConfigError: the document does not contain both marks, once each and in order.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "README.md"
      ...     _ = path.write_text("<!-- comparison -->\nold\n<!-- end of comparison -->\n")
      ...     replace_section(path, "new")
      ...     path.read_text().split()[3]
      'new'
    """
    try:
        document = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise DataError(
            f"{path} cannot be read ({reason}); give a Markdown file with the line {BEGIN} and "
            f"below it the line {END}"
        ) from error
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ConfigError(
            f"{path} must contain the line {BEGIN} and below it the line {END}, once each; add "
            "them where the tables belong"
        )
    if text is not None:
        write_text(path, f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}")


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


def _short(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}".replace("0.", ".", 1)


def _difference(mean: float, ends: Sequence[float], digits: int) -> str:
    low, high = (f"{end:+.{digits}f}".replace("0.", ".", 1) for end in ends)
    return f"{mean:+.{digits}f} [{low}, {high}]".replace("0.", ".", 1)


def _interval(mean: float, ends: Sequence[float], digits: int) -> str:
    low, high = (_short(end, digits) for end in ends)
    return f"{_short(mean, digits)} [{low}, {high}]"
