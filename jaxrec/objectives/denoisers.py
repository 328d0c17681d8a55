"""Denoisers: ways to make a training example of a text, and UL2's mixtures of them.

A text becomes inputs, which the model reads, and targets, which it learns to write:

    kind     inputs                        targets                  source
    whole    nothing                       the text                 language modeling
    suffix   its beginning                 its rest                 prefix language modeling
    spans    the text with sentinels       the removed spans        T5, arXiv:1910.10683
    mask, delete, infill
             the text with BART's noise    the text                 BART, arXiv:1910.13461

UL2 (Tay et al., arXiv:2205.05131) mixes regular (R), sequential (S) and extreme (X) denoisers, and
begins the inputs with the mode. So one model learns to fill in and to go on.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

from jaxrec.core import ConfigError, Positive, Range, check_ranges, nearest
from jaxrec.data import ReservedTokens
from jaxrec.objectives.prefix_language import prefix_length
from jaxrec.objectives.span_corruption import corrupt_spans, restore_spans
from jaxrec.objectives.spans import fit_spans, span_counts, span_lengths, span_mask
from jaxrec.objectives.token_noise import delete_tokens, infill_tokens, mask_tokens, noise_count

Noise = Literal["whole", "suffix", "spans", "mask", "delete", "infill"]
Mode = Literal["", "R", "S", "X"]
_LOSES = Annotated[float, Range(0, 1, "()")]
_SPAN = Annotated[float, Range(1, 1e6)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoiser:
    """One way to make examples.

    Attributes:
      kind: what happens to the text.
      rate: mean share of tokens that are removed, or that the targets of `suffix` have.
      span: mean length of a removed span; read by `spans` and `infill`.
      roll: whether the mask of `spans` is rolled (UL2R).
      mode: what its inputs begin with; "" for none.
      weight: how often a mixture draws it, relative to the others.

    Raises:
      ConfigError: a number is out of range.

    Example:
      >>> Denoiser(kind="spans", rate=0.5, span=8.0, mode="X").weight
      1.0
    """

    kind: Noise = "spans"
    rate: _LOSES = 0.15
    span: _SPAN = 3.0
    roll: bool = False
    mode: Mode = ""
    weight: Positive = 1.0

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--denoiser.")

    @property
    def needs(self) -> frozenset[str]:
        """What the tokenizer must have, as `ReservedTokens.of` takes it."""
        noise = {"spans": {"sentinels"}, "mask": {"mask"}, "infill": {"mask"}}
        return frozenset(
            {"eos"} | noise.get(self.kind, set()) | ({"modes"} if self.mode else set())
        )


def _spans(rate: float, span: float, mode: Mode, weight: float, roll: bool = False) -> Denoiser:
    return Denoiser(kind="spans", rate=rate, span=span, mode=mode, weight=weight, roll=roll)


# R, S and X of UL2's table 1. "ul2" draws each of the seven equally often (section 3.1.2), and
# "three_way" each of the three modes. "ul2r" is for training on (Tay et al., arXiv:2210.11399):
# half S with a uniform prefix, a quarter R, a quarter X.
def _table(regular: float, sequential: float, extreme: float) -> tuple[Denoiser, ...]:
    return (
        _spans(0.15, 3.0, "R", regular),
        _spans(0.15, 8.0, "R", regular),
        Denoiser(kind="suffix", rate=0.25, mode="S", weight=sequential),
        _spans(0.5, 3.0, "X", extreme),
        _spans(0.5, 8.0, "X", extreme),
        _spans(0.15, 64.0, "X", extreme),
        _spans(0.5, 64.0, "X", extreme),
    )


MIXTURES: dict[str, tuple[Denoiser, ...]] = {
    "ul2": _table(1.0, 1.0, 1.0),
    "three_way": _table(2.0, 4.0, 1.0),
    "ul2r": (
        _spans(0.15, 3.0, "R", 0.25, True),
        _spans(0.15, 32.0, "X", 0.125, True),
        _spans(0.5, 3.0, "X", 0.125, True),
        Denoiser(kind="suffix", rate=0.5, mode="S", weight=0.5),
    ),
}


def mixture(name: str, language: float = 0.0) -> tuple[Denoiser, ...]:
    """Return the denoisers of a named mixture, with a share of plain language modeling.

    Args:
      name: one of `MIXTURES`.
      language: share of examples that are whole texts under the mode S, in [0, 1). A model with
        such examples also writes from nothing; the others only go on after a prefix.

    Raises:
      ConfigError: an unknown name, or a share out of range.

    Example:
      >>> [round(float(share), 2) for share in shares(mixture("ul2r", language=0.2))]
      [0.2, 0.1, 0.1, 0.4, 0.2]
    """
    if name not in MIXTURES:
        raise ConfigError(
            f"no mixture {name!r}{nearest(name, MIXTURES)}; mixtures: {', '.join(MIXTURES)}"
        )
    if not 0 <= language < 1:
        raise ConfigError(f"the share of language modeling must be in [0, 1), got {language}")
    denoisers = MIXTURES[name]
    if not language:
        return denoisers
    total = sum(denoiser.weight for denoiser in denoisers)
    weight = total * language / (1 - language)
    return (*denoisers, Denoiser(kind="whole", mode="S", weight=weight))


def shares(denoisers: Sequence[Denoiser]) -> np.ndarray:
    """Return how often each denoiser is drawn, `[M]` float64 that adds up to 1.

    Example:
      >>> shares(MIXTURES["ul2"]).round(3).tolist()
      [0.143, 0.143, 0.143, 0.143, 0.143, 0.143, 0.143]
    """
    weights = np.array([denoiser.weight for denoiser in denoisers], np.float64)
    return weights / weights.sum()


def choose(denoisers: Sequence[Denoiser], rng: np.random.Generator) -> int:
    """Draw the number of a denoiser by its weight.

    Example:
      >>> choose([Denoiser(), Denoiser(weight=1e-9)], np.random.default_rng(0))
      0
    """
    ends = np.cumsum(shares(denoisers))
    return min(int(np.searchsorted(ends, rng.random(), side="right")), len(ends) - 1)


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Lengths that a denoiser gives a text of `raw` tokens, ends included, the mode not.

    Attributes:
      raw: number of tokens of the text.
      inputs: most tokens of the inputs.
      targets: most tokens of the targets.
    """

    raw: int
    inputs: int
    targets: int


def lengths_of(denoiser: Denoiser, raw: int) -> Lengths:
    """Return the largest lengths of inputs and targets that a text gives.

    Args:
      denoiser: how examples are made.
      raw: number of tokens of the text, at least 2.

    Example:
      >>> lengths_of(Denoiser(kind="delete"), 100)
      Lengths(raw=100, inputs=86, targets=101)
    """
    if denoiser.kind == "spans":
        return Lengths(*span_lengths(raw, denoiser.rate, denoiser.span, denoiser.roll))
    if denoiser.kind == "whole":
        return Lengths(raw, 0, raw)
    if denoiser.kind == "suffix":
        return Lengths(raw, raw - 1, raw - 1)
    gone = noise_count(raw, denoiser.rate) if denoiser.kind == "delete" else 0
    return Lengths(raw, raw - gone + 1, raw + 1)


def longest_text(denoiser: Denoiser, length: int, *, joined: bool, extra: int = 0) -> Lengths:
    """Return the longest text whose example fits.

    Args:
      denoiser: how examples are made.
      length: T, most tokens of inputs and targets together if they are joined in one sequence, and
        else of each of the two.
      joined: whether they are joined.
      extra: tokens of `length` that something else takes, such as a mode.

    Raises:
      ConfigError: not even a text of two tokens fits.

    Example:
      >>> longest_text(Denoiser(), 512, joined=False)
      Lengths(raw=568, inputs=512, targets=114)
      >>> longest_text(Denoiser(), 512, joined=True)
      Lengths(raw=464, inputs=418, targets=94)
    """
    room = length - extra

    def needed(raw: int) -> int:
        found = lengths_of(denoiser, raw)
        if not joined:
            return max(found.inputs, found.targets)
        # A prefix and its rest add up to the text.
        whole = denoiser.kind in ("whole", "suffix")
        return raw if whole else found.inputs + found.targets

    def fits(raw: int) -> bool:
        return needed(raw) <= room

    if not fits(2):
        raise ConfigError(
            f"a length of {length} tokens cannot hold an example of kind {denoiser.kind} of a text "
            f"of 2 tokens; give at least {needed(2) + extra}"
        )
    if denoiser.kind == "spans" and not joined:
        best = fit_spans(room, denoiser.rate, denoiser.span, denoiser.roll)
        if best.targets <= room:
            return Lengths(*best)
    low, high = 2, 4
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return lengths_of(denoiser, low)


def check_sentinels(denoiser: Denoiser, raw: int, sentinels: int) -> None:
    """Reject texts that may have more spans than there are sentinels.

    Args:
      denoiser: how examples are made.
      raw: number of tokens of a text.
      sentinels: K, number of sentinels of the tokenizer.

    Raises:
      ConfigError: too many spans.

    Example:
      >>> check_sentinels(Denoiser(), 2000, 100)
    """
    if denoiser.kind != "spans":
        return
    spans = span_counts(raw, denoiser.rate, denoiser.span).spans + int(denoiser.roll)
    if spans > sentinels:
        raise ConfigError(
            f"a text of {raw} tokens with rate {denoiser.rate} and spans of {denoiser.span:g} "
            f"tokens has {spans} spans, and the tokenizer has {sentinels} sentinels; use a shorter "
            "length, longer spans or a lower rate"
        )


def corrupt(
    denoiser: Denoiser, tokens: np.ndarray, reserved: ReservedTokens, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Make an example of a text, without its mode.

    Args:
      denoiser: how.
      tokens: `[n]` int32.
      reserved: of the tokenizer.
      rng: random generator.

    Returns:
      Inputs and targets, int32. Of `whole` and `suffix` neither has an end, because the text goes
      on after them; of the other kinds both end with the end token.

    Raises:
      ConfigError: a text of fewer than 2 tokens, or more spans than sentinels.

    Example:
      >>> from jaxrec.data import train_reserved
      >>> reserved = ReservedTokens.of(train_reserved(["a film"], 370))
      >>> noise = Denoiser(kind="delete", rate=0.5)
      >>> inputs, targets = corrupt(noise, np.arange(4), reserved, np.random.default_rng(0))
      >>> len(inputs), targets.tolist() == [0, 1, 2, 3, reserved.eos]
      (3, True)
    """
    tokens = np.asarray(tokens, np.int32)
    if denoiser.kind == "whole":
        return tokens[:0], tokens
    if denoiser.kind == "suffix":
        cut = prefix_length(len(tokens), denoiser.rate, rng)
        return tokens[:cut], tokens[cut:]
    if denoiser.kind == "spans":
        mask = span_mask(len(tokens), denoiser.rate, denoiser.span, rng, denoiser.roll)
        return corrupt_spans(tokens, mask, reserved.sentinels, reserved.eos)
    if denoiser.kind == "mask":
        noisy = mask_tokens(tokens, denoiser.rate, reserved.mask, rng)
    elif denoiser.kind == "delete":
        noisy = delete_tokens(tokens, denoiser.rate, rng)
    else:
        noisy = infill_tokens(tokens, denoiser.rate, denoiser.span, reserved.mask, rng)
        # Inserted masks have no upper limit, and what is cut here is in the targets.
        noisy = noisy[: len(tokens)]
    end = np.int32(reserved.eos)
    return np.append(noisy, end), np.append(tokens, end)


def restore(
    denoiser: Denoiser, inputs: np.ndarray, targets: np.ndarray, reserved: ReservedTokens
) -> np.ndarray:
    """Return the text that an example of `corrupt` was made of.

    Args:
      denoiser: how the example was made.
      inputs: what `corrupt` returned first.
      targets: what it returned second.
      reserved: of the tokenizer.

    Example:
      >>> from jaxrec.data import train_reserved
      >>> reserved = ReservedTokens.of(train_reserved(["a film"], 370))
      >>> pair = corrupt(Denoiser(), np.arange(200, 230), reserved, np.random.default_rng(0))
      >>> restore(Denoiser(), *pair, reserved).tolist() == list(range(200, 230))
      True
    """
    if denoiser.kind in ("whole", "suffix"):
        return np.concatenate([inputs, targets]).astype(np.int32)
    if denoiser.kind == "spans":
        return restore_spans(inputs, targets, reserved.sentinels, reserved.eos)
    return np.asarray(targets[:-1], np.int32)
