"""Hard prompts: an instruction is searched for, while the model stays as it is.

given texts     ┐
paraphrases     ├ ranked on training windows -> the best few by validation -> prompt.json
trigger tokens  ┘

The result is a text, which any other model can read as well.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from jaxrec.core import ConfigError, read_json, to_json, write_text
from jaxrec.data import Instruction, encode_instructions, instruction_batches
from jaxrec.prompting import (
    Grammar,
    GrammarParaphrases,
    TriggerModel,
    TriggerOptions,
    WordingOptions,
    search_triggers,
    search_wordings,
)
from jaxrec.systems.tallrec.config import SearchConfig
from jaxrec.texts import TextModel

FILE = "prompt.json"
# A paraphrase is one of these texts; it asks what the published instruction asks.
WORDINGS = Grammar(
    {
        "start": (
            "{given}{say} {whether} {person} {likes} {film}{how}.",
            "{say} {whether} {person} {likes} {film}{given_end}{how}.",
            "{given}will {person} {like} {film}?{answer}",
            "{given}does {film} {please} {person}?{answer}",
            "{given}{say} {whether} {film} {pleases} {person}{how}.",
            "{given}{say} {whether} {film} is {good} for {person}{how}.",
        ),
        "given": ("", "", "From {history}, ", "Given {history}, ", "Read {history} and answer: "),
        "given_end": ("", "", " from {history}", " in view of {history}"),
        "history": (
            "the history",
            "the lists",
            "the user's preference and unpreference",
            "the films above",
            "the taste of the user",
        ),
        "say": ("say", "tell", "predict", "decide", "identify", "judge"),
        "whether": ("whether", "if"),
        "person": ("the user", "this user", "the person", "this person", "the viewer"),
        "likes": ("likes", "will like", "enjoys", "would enjoy", "will love", "prefers"),
        "like": ("like", "enjoy", "love", "prefer"),
        "film": ("the film", "the movie", "the target movie", "this film", "the target"),
        "please": ("please", "suit", "fit", "satisfy"),
        "pleases": ("pleases", "suits", "fits", "satisfies"),
        "good": ("good", "a good recommendation", "the right film", "worth watching"),
        "how": ("", "", " by answering {words}", ", and answer {words}"),
        "answer": ("", "", " Answer {words}."),
        "words": ('"Yes." or "No."', "yes or no"),
    }
)


class _File(TypedDict):
    """What is read of a `prompt.json`."""

    instruction: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """The instruction that was found.

    Attributes:
      instruction: its text.
      valid: its metrics on the validation windows.
      tried: number of instructions that were measured on training windows.
      finalists: validation score of each instruction that validation chose from.
      seconds: that the search took.
    """

    instruction: str
    valid: Mapping[str, float]
    tried: int
    finalists: Mapping[str, float]
    seconds: float

    def save(self, directory: Path) -> None:
        """Write `prompt.json`, and `train.json` for commands that ask whether a run is complete."""
        write_text(directory / FILE, to_json(dataclasses.asdict(self)))
        facts = {"seconds": self.seconds, "best_step": 0, "steps": 0, "valid": dict(self.valid)}
        write_text(directory / "train.json", to_json(facts | {"trained_parameters": 0}))


def read_instruction(directory: Path) -> str:
    """Read the instruction that a search found.

    Raises:
      DataError: the search is unfinished, or its file is damaged.
    """
    fix = "finish it by the jaxrec train command that began it"
    return read_json(directory / FILE, _File, missing=fix, fix=fix)["instruction"]


def reworded(records: Sequence[Instruction], instruction: str) -> list[Instruction]:
    """The records with another instruction, or with their own if it is empty.

    Example:
      >>> from jaxrec.data import Instruction
      >>> reworded([Instruction("Guess.", "A film", "Yes.")], "Decide.")
      [Instruction(instruction='Decide.', input='A film', output='Yes.')]
    """
    if not instruction:
        return list(records)
    return [dataclasses.replace(record, instruction=instruction) for record in records]


def search_prompt(
    config: SearchConfig,
    text: TextModel,
    train: Sequence[Instruction],
    rank: Callable[[str], float],
    validate: Callable[[str], Mapping[str, float]],
    metric: str,
    directory: Path,
    *,
    max_length: int,
    seed: int,
) -> None:
    """Search for an instruction as the config says, and write it; one that is there is kept.

    Args:
      config: the search.
      text: the frozen model.
      train: the questions about training windows with the published instruction.
      rank: scores an instruction on training windows; higher is better.
      validate: measures an instruction on validation windows.
      metric: of `validate`, by which the choice is made.
      directory: of the run.
      max_length: most tokens of a text.
      seed: of draws.

    Raises:
      ConfigError: the model is no decoder with plain parameters, or a text loses its instruction
        because it is too long.
    """
    if (directory / FILE).exists():
        print(f"{directory} has its instruction already: {read_instruction(directory)}")
        return
    began = time.monotonic()
    published = train[0].instruction
    given = list(dict.fromkeys(config.texts or (published,)))
    if config.method == "tokens":
        start = max(given, key=rank)
        kept = _replace_tokens(config, text, train, start, max_length, seed)
        tried = len(given) + len(kept) - 1
        # The last ones have the lowest loss; the choice is also among what they come from.
        ranked = list(dict.fromkeys([start, *kept[-config.finalists :]]))
    elif config.method == "wordings":
        wordings = search_wordings(
            lambda texts: np.array([rank(instruction) for instruction in texts]),
            GrammarParaphrases(WORDINGS),
            given,
            WordingOptions(
                rounds=config.rounds,
                begin=config.begin,
                keep=config.keep,
                variants=config.variants,
                seed=seed,
            ),
        )
        tried = len(wordings)
        ranked = [wording.text for wording in wordings[: config.finalists]]
    else:
        ranked, tried = given, len(given)
    measured = {instruction: dict(validate(instruction)) for instruction in ranked}
    best = max(measured, key=lambda instruction: measured[instruction][metric])
    found = Found(
        instruction=best,
        valid=measured[best],
        tried=tried,
        finalists={instruction: m[metric] for instruction, m in measured.items()},
        seconds=time.monotonic() - began,
    )
    found.save(directory)
    print(f"{tried} instructions; {metric} {found.valid[metric]:.4f} on validation:\n{best}")


def _replace_tokens(
    config: SearchConfig,
    text: TextModel,
    train: Sequence[Instruction],
    start: str,
    max_length: int,
    seed: int,
) -> list[str]:
    """Replace the tokens of an instruction one by one, and return the texts that were kept."""
    tokenizer, records = text.tokenizer, reworded(train, start)
    rows = encode_instructions(tokenizer, records, max_length)
    before = records[0].prompt.partition(start)[0]
    first, tokens = _places(tokenizer, before, start, records[0].prompt)
    span = slice(first, first + len(tokens))
    if not np.array_equal(rows.tokens[:, span], np.tile(tokens, (len(rows), 1))):
        raise ConfigError(
            f"some texts are longer than max_length {max_length} and lose their instruction; "
            "raise it, or show fewer items of the history"
        )
    vocab = text.spec.config.vocab_size
    marked = rows.tokens.copy()
    marked[:, span] = vocab + np.arange(len(tokens))
    rows = dataclasses.replace(rows, tokens=marked)
    example = records[0].prompt

    def accept(changed: tuple[int, ...]) -> bool:
        """Whether the prompt survives as a text: a tokenizer must cut it into the same tokens."""
        words = tokenizer.decode(list(changed))
        if not words.isprintable() or words != words.strip():
            return False
        whole = example.replace(start, words, 1)
        return _places(tokenizer, before, words, whole) == (first, list(changed))

    kept = search_triggers(
        TriggerModel(text.spec, text.untuned()),
        iter(instruction_batches(rows, batch_size=config.batch_size, seed=seed)),
        tuple(tokens),
        _allowed(tokenizer, vocab),
        TriggerOptions(steps=config.steps, candidates=config.candidates, seed=seed),
        accept,
    )
    return [tokenizer.decode(list(step.tokens)) for step in kept]


def _places(tokenizer: Any, before: str, words: str, whole: str) -> tuple[int, list[int]]:
    """The place of the first token of `words` in a text, and the tokens that lie inside them."""
    encoded = tokenizer(whole, return_offsets_mapping=True)
    begin, end = len(before), len(before) + len(words)
    inside = [n for n, (a, b) in enumerate(encoded["offset_mapping"]) if begin <= a < b <= end]
    return (inside[0] if inside else 0), [encoded["input_ids"][n] for n in inside]


def _allowed(tokenizer: Any, vocab: int) -> np.ndarray:
    """Tokens that may stand in a prompt: no special ones, and none that were added, as titles."""
    allowed = np.zeros(vocab, bool)
    allowed[: min(len(tokenizer), vocab)] = True
    barred = [*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()]
    allowed[[number for number in barred if number < vocab]] = False
    return allowed


def describe_search(config: SearchConfig, train: int, valid: int) -> str:
    """Say how many instructions a search measures at most, and on how many windows.

    Args:
      config: the search.
      train: number of training windows that rank instructions.
      valid: number of validation windows.

    Example:
      >>> from jaxrec.systems.tallrec import SearchConfig
      >>> describe_search(SearchConfig(method="wordings", begin=10, rounds=2), 256, 500)
      'search of wordings: at most 43 instructions on 256 training windows, 5 on 500 for validation'
    """
    given = max(len(config.texts), 1)
    ranked, chosen = given, config.finalists
    if config.method == "given":
        ranked, chosen = 0, given
    elif config.method == "wordings":
        ranked += config.begin + config.rounds * config.keep * config.variants
    else:
        ranked, chosen = given + config.steps * (config.candidates + 1), config.finalists + 1
    return (
        f"search of {config.method}: at most {ranked:,} instructions on {train:,} training "
        f"windows, {chosen:,} on {valid:,} for validation"
    )
