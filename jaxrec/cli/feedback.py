"""`jaxrec feedback serve DATA | agree FILE --gold NAME`: collect feedback, and compare labelers."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxrec.align import (
    Level,
    agreement_with,
    krippendorff_alpha,
    only_writer,
    rating_table,
    read_feedback,
)
from jaxrec.cli.arguments import parse
from jaxrec.core import ConfigError, Count, DataError, Range, check_file, check_writable, nearest
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
    kinds = ("ranking", "best") if arguments.kind == "ranking" else (arguments.kind,)
    records = [r for r in read_feedback(arguments.file) if r.kind in kinds]
    if not records:
        raise DataError(
            f"{arguments.file} has no feedback of the kind {arguments.kind}; choose another --kind"
        )
    found = agreement_with(records, arguments.gold) if arguments.gold else []
    level = arguments.level or ("nominal" if arguments.kind == "ranking" else "ordinal")
    labelers, table = rating_table(records)
    alpha = krippendorff_alpha(table, level) if len(labelers) > 1 else math.nan
    for row in found:
        print(
            f"{row.labeler}: {row.percent:.1%} of {row.units} labels like {arguments.gold}, "
            f"kappa {row.kappa:.3f}, tau {row.tau:.3f}"
        )
    print(f"Krippendorff's alpha of {len(labelers)} labelers, {level}: {alpha:.3f}")
    rows = [{k: _number(v) for k, v in dataclasses.asdict(row).items()} for row in found]
    print(json.dumps({"labelers": rows, "alpha": _number(alpha), "level": level}))


def _number(value: object) -> object:
    """JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
