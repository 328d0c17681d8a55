"""`jaxrec feedback serve DATA | agree FILE --gold NAME`: collect feedback, and compare labelers."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxrec.align import (
    Feedback,
    Level,
    agreement_with,
    by_criterion,
    krippendorff_alpha,
    only_writer,
    rating_table,
    read_feedback,
)
from jaxrec.cli.arguments import parse
from jaxrec.core import ConfigError, Count, DataError, Range, check_file, check_writable, nearest
from jaxrec.data import files
from jaxrec.serve import Compare, Labeling, Question, read_tasks, serve

_VERBS = {
    "serve": "serve a page on which labelers rank answers and answer questions",
    "agree": "compare labelers with a gold set and with one another",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeArguments:
    """Serve a labeling page; every answer is saved at once, and a restart goes on.

    Attributes:
      data: JSON lines with "prompt", two to nine "answers" and maybe "prompt_id".
      out: file that receives the feedback, one JSON line a record.
      compare: ask for a ranking of the answers, for the best of them alone, or for neither.
      questions: criteria to ask about each answer, such as helpful honest "harmless?"; a question
        mark at the end asks for yes or no, all others for a point on a scale.
      points: number of points of the scales.
      labelers: names of those who may answer; by default everybody.
      host: address at which to listen; only this machine by default.
      port: at which to listen; 0 for any free one.
    """

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    out: Path = Path("feedback.jsonl")
    compare: Compare = "ranking"
    questions: tuple[str, ...] = ()
    points: Count = 5
    labelers: tuple[str, ...] | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Range(0, 65535)] = 8765


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgreeArguments:
    """Print how far labelers agree, and end with a JSON line.

    Attributes:
      file: of feedback.
      gold: labeler whose labels are taken as right; by default none.
      kind: compare rankings and best answers, answers to questions, or broken rules.
      level: of Krippendorff's alpha; by default nominal for rankings and ordinal for the others.
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    gold: str = ""
    kind: Literal["ranking", "questions", "rules"] = "ranking"
    level: Level | None = None


def run(arguments: list[str]) -> None:
    """Run the verb, which is the first word.

    Raises:
      ConfigError: an unknown verb or option, or an address that cannot be used.
      DataError: the data or the feedback cannot be read, or an unknown labeler.
    """
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("-h", "--help"):
        print("usage: jaxrec feedback serve DATA [--out FILE] ... | agree FILE [--gold NAME] ...\n")
        print("\n".join(f"  {name:<5} {about}" for name, about in _VERBS.items()))
        return
    if verb not in _VERBS:
        raise ConfigError(f"no verb {verb!r}{nearest(verb, _VERBS)}; verbs: {', '.join(_VERBS)}")
    if verb == "serve":
        _serve(parse(ServeArguments, rest, prog="jaxrec feedback serve"))
    else:
        _agree(parse(AgreeArguments, rest, prog="jaxrec feedback agree"))


def _serve(arguments: ServeArguments) -> None:
    questions = [Question.of(word, arguments.points) for word in arguments.questions]
    if arguments.labelers == ():
        raise ConfigError("--labelers names nobody; give names, or leave it out for everybody")
    out = arguments.out
    tasks = read_tasks(arguments.data)
    if out.exists() and out.samefile(arguments.data):
        raise ConfigError(f"--out {out} is the file of the prompts; give another file")
    check_writable(out.absolute().parent, "--out")
    check_file(out, missing=True)
    with only_writer(out):
        study = Labeling.open(
            tasks,
            out,
            compare=arguments.compare,
            questions=questions,
            labelers=arguments.labelers or (),
        )
        serve(study, arguments.host, arguments.port)


def _agree(arguments: AgreeArguments) -> None:
    everything = read_feedback(arguments.file)
    kinds = ("ranking", "best") if arguments.kind == "ranking" else (arguments.kind,)
    records = [record for record in everything if record.kind in kinds]
    if not records:
        there = sorted({"ranking" if r.kind == "best" else r.kind for r in everything})
        raise DataError(
            f"{arguments.file} has no feedback of the kind {arguments.kind}; give --kind "
            f"{' or '.join(there)}"
        )
    labelers = list(dict.fromkeys(record.labeler for record in records))
    if len(labelers) < 2:
        raise DataError(
            f"{arguments.file} has feedback of {files.shown(labelers[0])} alone; agreement needs "
            "two labelers"
        )
    level = arguments.level or ("nominal" if arguments.kind == "ranking" else "ordinal")
    rows: list[dict[str, object]] = []
    alphas: dict[str, float | None] = {}
    if arguments.gold:
        agreement_with(records, arguments.gold)  # an unknown name is an error of all criteria
    for name, mine in by_criterion(records).items():
        if arguments.gold:
            rows += _compare(name, mine, arguments.gold, labelers)
        alphas[name], reason = _alpha(mine, level)
        shown = reason or f"{alphas[name]:.3f}"
        count = len({record.labeler for record in mine})
        print(f"{name}: Krippendorff's alpha ({level}, labelers: {count}): {shown}")
    print(json.dumps({"labelers": rows, "alpha": alphas, "level": level}))


def _compare(
    name: str, records: Sequence[Feedback], gold: str, labelers: Sequence[str]
) -> list[dict[str, object]]:
    """Print and return how far each labeler agrees with the gold set on one criterion."""
    try:
        found = agreement_with(records, gold)
    except DataError:  # nobody shares a label on this criterion with the gold set
        found = []
    for row in found:
        shown = [f"labels like {gold}: {row.percent:.1%} of {row.units}"]
        beyond_chance = {"kappa": row.kappa, "tau": row.tau}
        shown += [f"{key} {v:.3f}" for key, v in beyond_chance.items() if not math.isnan(v)]
        print(f"{name}: {row.labeler}: {', '.join(shown)}")
    for labeler in labelers:
        if labeler != gold and labeler not in [row.labeler for row in found]:
            print(f"{name}: {labeler}: no label of what {gold} labeled")
    return [
        {"criterion": name} | {k: _number(v) for k, v in dataclasses.asdict(row).items()}
        for row in found
    ]


def _alpha(records: Sequence[Feedback], level: Level) -> tuple[float | None, str]:
    """Krippendorff's alpha, or None and why it is not defined."""
    try:
        return krippendorff_alpha(rating_table(records)[1], level), ""
    except DataError as error:
        return None, f"none, because {error}"


def _number(value: object) -> object:
    """JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
