"""The instructions of a run as text tasks: one for each cell of the grammar, and their variations.

Variations make instructions more diverse (InstructRec, section 3.3). Swapped tasks give what others
ask for, and ask for what they give: the wish that a film meets, or the preference behind a history.
"related" asks whether a wish suits a preference. Chains of thought write the preference first and
then the item.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from jaxrec.data import Template, holes
from jaxrec.runs import Stage
from jaxrec.systems.instructrec.grammar import CELLS, Cell, Intention, wordings_of
from jaxrec.systems.instructrec.wishes import Wishes
from jaxrec.texts import (
    NO,
    YES,
    Answerer,
    AnswerKind,
    AnswerOptions,
    Asked,
    CatalogueItem,
    Choice,
    ChoiceMetrics,
    Datum,
    FreeText,
    ListMetrics,
    Metric,
    Need,
    OneOf,
    OneOfCandidates,
    Prefixes,
    PromptData,
    Questions,
    Source,
    Stream,
    TextOverlap,
    TextTask,
    Unit,
    make_templates,
    render,
)

YES_NO = Choice(("yes", "no"))
# What a chain of thought writes between the preference and the item.
SO = "so"
InstructTask = TextTask["InstructData"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class InstructData(PromptData):
    """What the instructions of a data set are made of.

    Attributes:
      wishes: genres of the items, and what users liked.
    """

    wishes: Wishes


@dataclasses.dataclass(frozen=True)
class Related:
    """Asks whether a wish suits a user: one half of the time it is the wish for their next item.

    Otherwise it is the wish for another item, all of whose genres differ.
    """

    inner: Prefixes = Prefixes()
    unit: ClassVar[Unit] = "user"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def training(self, data: InstructData) -> Stream:
        """See `Source`."""
        stream = self.inner.training(data)

        def draw(datum: int, rng: np.random.Generator) -> Datum:
            one = stream.draw(datum, rng)
            if rng.random() < 0.5:
                return dataclasses.replace(one, wished=one.item, answer=YES)
            return _wrong(one, data, rng)

        return Stream(stream.size, draw)

    def units(self, data: InstructData, stage: Stage) -> np.ndarray:
        """See `Source`."""
        return self.inner.units(data, stage)

    def held_out(self, data: InstructData, stage: Stage, units: np.ndarray) -> list[Datum]:
        """Two questions for each user: about the wish for the target, and about a wrong one."""
        return [
            question
            for one in self.inner.held_out(data, stage, units)
            for question in (
                dataclasses.replace(one, wished=one.item, answer=YES),
                _wrong(one, data, np.random.default_rng([0, one.user])),
            )
        ]


def _wrong(one: Datum, data: InstructData, rng: np.random.Generator) -> Datum:
    return dataclasses.replace(one, wished=data.wishes.unlike(one.item, rng), answer=NO)


def with_wrong_wishes(data: Sequence[Datum], wishes: Wishes, seed: int = 0) -> list[Datum]:
    """Let each datum wish for an item that shares no genre with its target.

    Args:
      data: of an evaluation.
      wishes: genres of the items.
      seed: of the draws, one for each user.
    """
    return [
        dataclasses.replace(
            one, wished=wishes.unlike(one.item, np.random.default_rng([seed, one.user]))
        )
        for one in data
    ]


@dataclasses.dataclass(frozen=True)
class Writer:
    """Writes a datum as the fields of instructions.

    Attributes:
      shown: the fields that the templates name; others cost time and are left out.
      intention: which of the two wishes {wish} is.

    Example:
      >>> from jaxrec.systems.instructrec import TASKS
      >>> writer = TASKS["P2-I1-T2"].render
      >>> sorted(writer.shown), writer.intention
      (['item', 'likes', 'wish'], 'I1')
    """

    shown: frozenset[str]
    intention: Intention

    def __call__(self, datum: Datum, data: InstructData) -> dict[str, str]:
        """See `TextTask.render`; a datum that wishes for nothing else wishes for its own item."""
        fields = render(datum, data)
        if "likes" in self.shown:
            fields["likes"] = data.wishes.likes(datum.user, _history(datum))
        if "wish" in self.shown:
            item = datum.item if datum.wished < 0 else datum.wished
            write = data.wishes.vague if self.intention == "I1" else data.wishes.specific
            fields["wish"] = write(item)
        return fields


def _history(datum: Datum) -> np.ndarray:
    return np.zeros(0, int) if datum.history is None else datum.history


def _task(
    name: str,
    source: "Source[InstructData]",
    templates: tuple[Template, ...],
    answer: AnswerKind,
    metric: Metric,
    intention: Intention = "I0",
) -> InstructTask:
    shown = frozenset().union(*(holes(t.source) | holes(t.target) for t in templates))
    return TextTask(
        name=name,
        source=source,
        render=Writer(shown, intention),
        templates=templates,
        answer=answer,
        metric=metric,
    )


def _of_cell(cell: Cell) -> InstructTask:
    """The task of a cell."""
    source: Source[InstructData]
    answer: AnswerKind
    metric: Metric = ListMetrics()
    if cell.question == "T0":
        source, answer, metric = Asked(Prefixes()), YES_NO, ChoiceMetrics()
    elif cell.question == "T1":
        source, answer = OneOf(Prefixes(), count=2), OneOfCandidates()
    elif cell.question == "T2":
        source, answer = Prefixes(), CatalogueItem()
    else:
        source, answer = OneOf(Prefixes()), OneOfCandidates()
    wordings = wordings_of(cell)
    templates = make_templates(
        cell.name,
        answer,
        seen=[wording.text for wording in wordings if wording.seen],
        unseen=[wording.text for wording in wordings if not wording.seen],
    )
    return _task(cell.name, source, templates, answer, metric, cell.intention)


@dataclasses.dataclass(frozen=True)
class Chain(FreeText):
    """A preference, and the item that follows from it.

    Example:
      >>> Chain("likes").target
      '{likes} so {item}'
    """

    @property
    def target(self) -> str:
        """The preference first."""
        return f"{{{self.field}}} {SO} {{item}}"

    def answer(self, model: Answerer, questions: Questions, options: AnswerOptions) -> list[str]:
        """What the model writes before the item."""
        texts = model.write(questions.prompts, options.max_tokens)
        return [text.partition(f" {SO}")[0].strip() for text in texts]


def _swapped(
    name: str, field: str, seen: Sequence[str], intention: Intention = "I0"
) -> InstructTask:
    """A task that asks for a field which other tasks give."""
    answer = FreeText(field)
    templates = make_templates(name, answer, seen)
    return _task(name, Prefixes(), templates, answer, TextOverlap(field), intention)


def _variations() -> Iterable[InstructTask]:
    for intention in ("I1", "I2"):
        words = "vaguely" if intention == "I1" else "exactly"
        yield _swapped(
            f"swap-{intention}",
            "wish",
            (
                f"what does someone want {words} who watched {{item}} ?",
                f"{{item}} is right for someone who wants {words} :",
            ),
            intention,
        )
        yield _swapped(
            f"swap-P1-{intention}",
            "wish",
            (f"history : {{items}} next film : {{item}} what is wanted {words} ?",),
            intention,
        )
        related = make_templates(
            f"related-{intention}", YES_NO, ("someone {likes} is {wish} what comes next ?",)
        )
        yield _task(f"related-{intention}", Related(), related, YES_NO, ChoiceMetrics(), intention)
    yield _swapped(
        "swap-P2",
        "likes",
        ("describe someone who watched {items}", "history : {items} describe someone :"),
    )
    chain = Chain("likes")
    wants: dict[Intention, str] = {"I0": "", "I1": "and wants {wish} ", "I2": "and wants {wish} "}
    for intention, wish in wants.items():
        name = f"chain-P1-{intention}"
        text = f"someone watched {{items}} {wish}first describe someone , then recommend a film"
        yield _task(
            name,
            Prefixes(),
            make_templates(name, chain, (text,)),
            chain,
            TextOverlap("likes"),
            intention,
        )


TASKS: dict[str, InstructTask] = {
    task.name: task for task in (*(_of_cell(cell) for cell in CELLS), *_variations())
}
