"""Answers that are stored: a cache on disk around any language model, and the replay of a study.

A `StoredModel` asks only what its file does not answer. So a study that is repeated costs nothing,
and one that was killed goes on where it stopped. The same file is a recording: a `ReplayedModel`
answers from it without any model, such as in a test.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting.answer_file import Answer, AnswerFile, Question
from jaxrec.prompting.language_model import (
    GenerateOptions,
    LanguageModel,
    Reply,
    Score,
    TextScore,
    Usage,
)
from jaxrec.prompting.service_requests import ServiceError

Item = TypeVar("Item")


class StoredModel:
    """A language model whose answers are kept in a file.

    An answer belongs to the model's name, the options and the prompt. Replies with a `failure` are
    kept for replays, but asked again. Several processes may share the file.

    Args:
      model: the model that answers what the file does not.
      path: the file; it need not exist.
      chunk: most questions that are asked at once. A process that is killed loses at most so many
        answers. Where a question fails, the answers to the others are kept.
      recorded_usage: the first time that this object gives an answer of an earlier process, it
        reports what the answer cost then. So the total of a study does not depend on interruptions.
        By default a stored answer costs nothing.

    Raises:
      ConfigError: a chunk that is no whole number of at least 1.
      DataError: the file is something else, or one of its lines is damaged.
      ResourceError: the file cannot be written.

    Example:
      >>> import tempfile
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel, StoredModel
      >>> path = Path(tempfile.mkdtemp()) / "answers.jsonl"
      >>> script, options = ScriptedModel(lambda prompt, _: prompt[::-1]), GenerateOptions()
      >>> [StoredModel(script, path).generate(["abc"], options)[0].text for _ in range(2)]
      ['cba', 'cba']
      >>> len(script.calls)
      1
    """

    def __init__(
        self,
        model: LanguageModel,
        path: Path | str,
        *,
        chunk: int = 64,
        recorded_usage: bool = False,
    ) -> None:
        if not isinstance(chunk, int) or chunk < 1:
            raise ConfigError(f"chunk must be a whole number of at least 1, got {chunk!r}")
        self._model, self._chunk = model, chunk
        self._file = AnswerFile(Path(path))
        self._file.note_model(model.name, model.context)
        # Questions whose cost was reported already, where that of stored answers is reported.
        self._reported: set[str] | None = set() if recorded_usage else None
        # Questions answered by this process in a call that failed, so that nobody knows their cost.
        self._unreported: set[str] = set()

    @property
    def name(self) -> str:
        """The name of the model inside."""
        return self._model.name

    @property
    def context(self) -> int | None:
        """The context of the model inside."""
        return self._model.context

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `LanguageModel`."""
        questions = [Question.count(self.name, text) for text in _listed(texts)]
        return cast(list[int], self._answers(questions, texts, self._model.count_tokens))

    def generate(self, prompts: Sequence[str], options: GenerateOptions) -> list[Reply]:
        """See `LanguageModel`; a stored answer has no cost."""
        questions = [Question.generate(self.name, p, options) for p in _listed(prompts)]

        def ask(chunk: Sequence[str]) -> list[Reply]:
            return self._model.generate(chunk, options)

        return cast(list[Reply], self._answers(questions, prompts, ask))

    def score(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]
    ) -> list[tuple[Score, ...]]:
        """See `LanguageModel`; each continuation is stored on its own."""
        pairs = _pairs(prompts, continuations)
        questions = [Question.score(self.name, *pair) for pair in pairs]

        def ask(chunk: Sequence[tuple[str, str]]) -> list[Score]:
            # Continuations of one prompt are asked together, so that it is read once.
            rows: dict[str, list[str]] = {}
            for prompt, text in chunk:
                rows.setdefault(prompt, []).append(text)
            scores = self._model.score(list(rows), list(rows.values()))
            found = {
                (prompt, text): score
                for (prompt, texts), row in zip(rows.items(), scores, strict=True)
                for text, score in zip(texts, row, strict=True)
            }
            return [found[pair] for pair in chunk]

        scores = iter(cast(list[Score], self._answers(questions, pairs, ask)))
        return [tuple(next(scores) for _ in row) for row in continuations]

    def score_text(self, texts: Sequence[str]) -> list[TextScore]:
        """See `LanguageModel`."""
        questions = [Question.score_text(self.name, text) for text in _listed(texts)]
        return cast(list[TextScore], self._answers(questions, texts, self._model.score_text))

    def _answers(
        self,
        questions: Sequence[Question],
        items: Sequence[Item],
        ask: Callable[[Sequence[Item]], Sequence[Answer]],
    ) -> list[Answer]:
        """Return the answers to questions, and ask for those that are not in the file."""
        self._file.refresh()
        missing: dict[str, tuple[Question, Item]] = {}
        for question, item in zip(questions, items, strict=True):
            stored = self._file.get(question)
            if stored is None or (isinstance(stored, Reply) and stored.failure is not None):
                missing.setdefault(question.key, (question, item))
        fresh: dict[str, Answer] = {}
        rows = list(missing.values())
        for first in range(0, len(rows), self._chunk):
            chunk = rows[first : first + self._chunk]
            try:
                made = ask([item for _, item in chunk])
            except ServiceError as error:
                told = error.answered
                had = [(asked, told[item]) for asked, item in chunk if item in told]
                self._file.append(had)
                self._unreported |= {question.key for question, _ in had} | fresh.keys()
                raise
            if len(made) != len(chunk):
                raise DataError(
                    f"the model {self.name} gave {len(made)} answers to {len(chunk)} questions; "
                    "it must give one to each"
                )
            asked = [question for question, _ in chunk]
            kept = self._file.append(list(zip(asked, made, strict=True)))
            fresh |= {question.key: answer for question, answer in zip(asked, kept, strict=True)}
        answers = []
        for question in questions:
            # What was asked twice in this call was paid once.
            answer = fresh.pop(question.key, None)
            if answer is None:
                answer = self._file.get(question)
                known = self._reported is None or question.key in self._reported
                unpaid = known and question.key not in self._unreported
                answer = _free(answer) if unpaid else answer
            self._unreported.discard(question.key)
            if self._reported is not None:
                self._reported.add(question.key)
            assert answer is not None
            answers.append(answer)
        return answers


class ReplayedModel:
    """A recorded model: it answers what its file answers, with the recorded costs.

    Args:
      path: a file that a `StoredModel` wrote.
      name: which of the recorded models; None if there is only one.

    Raises:
      ConfigError: no model of this name, or several and no name.
      DataError: no file there, one that is something else, or a damaged line.

    Example:
      >>> import tempfile
      >>> from jaxrec.prompting import GenerateOptions, ReplayedModel, ScriptedModel, StoredModel
      >>> path = Path(tempfile.mkdtemp()) / "answers.jsonl"
      >>> recorded = StoredModel(ScriptedModel(lambda prompt, _: prompt[::-1]), path)
      >>> _ = recorded.generate(["abc"], GenerateOptions())
      >>> ReplayedModel(path).generate(["abc"], GenerateOptions())[0].text
      'cba'
    """

    def __init__(self, path: Path | str, name: str | None = None) -> None:
        path = Path(path)
        if not path.exists():
            raise DataError(
                f"no recording {path}; make one with StoredModel(model, path) around the model"
            )
        self._file = AnswerFile(path)
        known = self._file.contexts
        if name is None and len(known) == 1:
            (name,) = known
        if name is None or name not in known:
            asked = "name one of them" if name is None else f"there is none of {name!r}"
            raise ConfigError(f"{path} has the models {', '.join(known) or 'none'}; {asked}")
        self.name = name
        self.context = known[name]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `LanguageModel`; `DataError` for a text that was not counted."""
        return [
            cast(int, self._answer(Question.count(self.name, text), text))
            for text in _listed(texts)
        ]

    def generate(self, prompts: Sequence[str], options: GenerateOptions) -> list[Reply]:
        """See `LanguageModel`; `DataError` for a prompt that was not asked with these options."""
        return [
            cast(Reply, self._answer(Question.generate(self.name, prompt, options), prompt))
            for prompt in _listed(prompts)
        ]

    def score(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]
    ) -> list[tuple[Score, ...]]:
        """See `LanguageModel`; `DataError` for a continuation that was not scored."""
        scores = iter(
            [
                cast(Score, self._answer(Question.score(self.name, *pair), "".join(pair)))
                for pair in _pairs(prompts, continuations)
            ]
        )
        return [tuple(next(scores) for _ in row) for row in continuations]

    def score_text(self, texts: Sequence[str]) -> list[TextScore]:
        """See `LanguageModel`; `DataError` for a text that was not scored."""
        return [
            cast(TextScore, self._answer(Question.score_text(self.name, text), text))
            for text in _listed(texts)
        ]

    def _answer(self, question: Question, text: str) -> Answer:
        answer = self._file.get(question)
        if answer is None:
            options = question.asked.get("options")
            raise DataError(
                f"{self._file.path} has no answer of {self.name} to this question of kind "
                f"{question.kind!r}: it ends with {text[-80:]!r}"
                + (f", and its options are {options}" if options else "")
                + "; record the study again with StoredModel"
            )
        return answer


def _listed(texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise ConfigError(f"expected a list of texts, got one text: [{texts[:20]!r}]")
    return texts


def _pairs(prompts: Sequence[str], continuations: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    if len(prompts) != len(continuations):
        raise ConfigError(
            f"{len(prompts)} prompts need {len(prompts)} rows of continuations, got "
            f"{len(continuations)}"
        )
    return [
        (prompt, text) for prompt, row in zip(prompts, continuations, strict=True) for text in row
    ]


def _free(answer: Answer | None) -> Answer:
    """Return a stored answer as one that costs nothing."""
    assert answer is not None
    if isinstance(answer, int):
        return answer
    tokens = answer.usage.prompt_tokens
    usage = Usage(calls=1, prompt_tokens=tokens, shared_tokens=tokens)
    return dataclasses.replace(answer, usage=usage)
