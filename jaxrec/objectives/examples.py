"""Corrupted examples as batches: in the layout of the model, packed, seeded and resumable.

joined (causal and prefix decoders), two examples in a row:

    start inputs... targets... | start inputs... targets... . .
    0     0         0            1     1         1          -1      segments
    1     1         0            1     1         0           0      prefix, of a prefix decoder
    0     0         1            0     0         1           0      weights

pair (encoder-decoder): the encoder reads the mode, the inputs and an end, and the decoder writes
the targets after T5's start, the padding token.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data import ReservedTokens, Windows, endless, host_rows
from jaxrec.objectives.denoisers import (
    Denoiser,
    Lengths,
    check_sentinels,
    choose,
    corrupt,
    longest_text,
)

if TYPE_CHECKING:
    import grain

Backbone = Literal["causal", "prefix", "encoder_decoder"]


@dataclasses.dataclass(frozen=True)
class Example:
    """A corrupted text.

    Attributes:
      start: the token before its inputs: the mode, or what begins a text.
      inputs: int32 tokens to read.
      targets: int32 tokens to write.
    """

    start: int
    inputs: np.ndarray
    targets: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Corruption:
    """A mixture of denoisers for a backbone: what turns texts into batches of one shape.

    Attributes:
      denoisers: M of them; one for a single objective.
      backbone: which layout the examples have.
      length: most tokens of an example with its start; of an encoder-decoder, of its inputs and of
        its targets.
      reserved: of the tokenizer.
      per_row: number of examples that share a row of a decoder.

    Raises:
      ConfigError: an example does not fit, has more spans than there are sentinels, or several
        examples should share a row of an encoder-decoder.

    Example:
      >>> from jaxrec.data import train_reserved
      >>> reserved = ReservedTokens.of(train_reserved(["a film"], 370))
      >>> corruption = Corruption(
      ...     denoisers=(Denoiser(),), backbone="prefix", length=32, reserved=reserved
      ... )
      >>> example = corruption.example(np.arange(200, 230), np.random.default_rng(0))
      >>> corruption.raw, sorted(corruption.arrange([[example]]))
      (27, ['prefix', 'tokens', 'valid', 'weights'])
    """

    denoisers: tuple[Denoiser, ...]
    backbone: Backbone
    length: int
    reserved: ReservedTokens
    per_row: int = 1

    def __post_init__(self) -> None:
        """Reject what does not fit, before any text is read."""
        if not self.denoisers:
            raise ConfigError("a mixture needs at least one denoiser, got none")
        if self.per_row > 1 and not self.joined:
            raise ConfigError(
                f"{self.per_row} examples cannot share a row of an encoder-decoder; pack only "
                "examples of decoders"
            )
        for denoiser, lengths in zip(self.denoisers, self.lengths, strict=True):
            check_sentinels(denoiser, lengths.raw, len(self.reserved.sentinels))

    @property
    def joined(self) -> bool:
        """Whether inputs and targets are one sequence."""
        return self.backbone != "encoder_decoder"

    @functools.cached_property
    def lengths(self) -> tuple[Lengths, ...]:
        """The longest text of each denoiser, and the lengths of its inputs and targets."""
        # A joined example begins with a mode or another token; the source of a pair, with a mode
        # alone.
        return tuple(
            longest_text(d, self.length, joined=self.joined, extra=self.joined or bool(d.mode))
            for d in self.denoisers
        )

    @property
    def raw(self) -> int:
        """Number of tokens of a window: the longest text of any denoiser."""
        return max(lengths.raw for lengths in self.lengths)

    def example(self, tokens: np.ndarray, rng: np.random.Generator) -> Example:
        """Draw a denoiser and corrupt a text, which is cut to the length that fits it."""
        number = choose(self.denoisers, rng) if len(self.denoisers) > 1 else 0
        return self.example_of(number, tokens, rng)

    def example_of(self, number: int, tokens: np.ndarray, rng: np.random.Generator) -> Example:
        """Corrupt a text by the denoiser of a number; see `example`."""
        denoiser = self.denoisers[number]
        cut = tokens[: self.lengths[number].raw]
        return Example(self.start(denoiser), *corrupt(denoiser, cut, self.reserved, rng))

    def start(self, denoiser: Denoiser) -> int:
        """Return the token before the inputs; -1 for none, in an encoder-decoder without modes."""
        if denoiser.mode:
            return self.reserved.modes[denoiser.mode]
        if not self.joined:
            return -1
        begins = (self.reserved.bos, self.reserved.pad, self.reserved.eos)
        return next(number for number in begins if number >= 0)

    def arrange(self, rows: Sequence[Sequence[Example]]) -> dict[str, np.ndarray]:
        """Lay examples out as a batch of `language_loss`, `per_row` of them in each row."""
        if self.joined:
            return self._joined(rows)
        return self._pairs([example for row in rows for example in row])

    def _joined(self, rows: Sequence[Sequence[Example]]) -> dict[str, np.ndarray]:
        shape = (len(rows), self.length * self.per_row)
        tokens = np.full(shape, max(self.reserved.pad, 0), np.int32)
        segments = np.full(shape, -1, np.int32)
        prefix, weights = np.zeros(shape, bool), np.zeros(shape, np.float32)
        for row, examples in enumerate(rows):
            at = 0
            for number, example in enumerate(examples):
                first = at + 1 + len(example.inputs)
                end = first + len(example.targets)
                tokens[row, at] = example.start
                tokens[row, at + 1 : first] = example.inputs
                tokens[row, first:end] = example.targets
                segments[row, at:end] = number
                prefix[row, at:first] = True
                weights[row, first:end] = 1
                at = end
        batch = {"tokens": tokens, "valid": segments >= 0, "weights": weights}
        if self.backbone == "prefix":
            batch["prefix"] = prefix
        if self.per_row > 1:
            batch["segments"] = segments
        return batch

    def _pairs(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        pad, end = max(self.reserved.pad, 0), np.int32(self.reserved.eos)
        pairs = list(zip(self.denoisers, self.lengths, strict=True))
        # A text that goes on has no end of its own.
        reads = max(n.inputs + bool(d.mode) + (d.kind in ("whole", "suffix")) for d, n in pairs)
        writes = max(lengths.targets for lengths in self.lengths)
        source = np.full((len(examples), reads), pad, np.int32)
        tokens = np.full((len(examples), 1 + writes), pad, np.int32)
        read, written = np.zeros(source.shape, bool), np.zeros(tokens.shape, bool)
        written[:, 0] = True
        for row, example in enumerate(examples):
            begin = [example.start] if example.start >= 0 else []
            text = np.concatenate([np.array(begin, np.int32), example.inputs])
            if not len(text) or text[-1] != end:
                text = np.append(text, end)
            source[row, : len(text)] = text
            read[row, : len(text)] = True
            tokens[row, 1 : 1 + len(example.targets)] = example.targets
            written[row, 1 : 1 + len(example.targets)] = True
        weights = written.astype(np.float32)
        weights[:, 0] = 0
        return {
            "source": source,
            "source_valid": read,
            "tokens": tokens,
            "valid": written,
            "weights": weights,
        }


def corrupted_batches(
    corruption: Corruption,
    tokens: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    shard: tuple[int, int] = (0, 1),
) -> "grain.IterDataset[Mapping[str, np.ndarray]]":
    """Return an endless, seeded, resumable Grain dataset of batches of a corpus.

    Windows tile the corpus once an epoch, from a random start. An example depends only on the seed
    and its place in the stream, so a resumed iterator draws what an uninterrupted one draws.

    Args:
      corruption: how texts become batches.
      tokens: `[n]` int32, the documents one after the other, with ends between them.
      batch_size: rows in a batch, over all hosts.
      seed: seed of windows, denoisers and noise.
      shard: (this host, number of hosts); each host gets its part of every batch.

    Returns:
      Batches of `language_loss`, with `batch_size / hosts` rows.

    Raises:
      ConfigError: the hosts cannot share a batch evenly, or the corpus is shorter than an example.

    Example:
      >>> from jaxrec.data import train_reserved
      >>> reserved = ReservedTokens.of(train_reserved(["a film"], 370))
      >>> corruption = Corruption(
      ...     denoisers=(Denoiser(kind="whole"),), backbone="causal", length=8, reserved=reserved
      ... )
      >>> batches = corrupted_batches(corruption, np.arange(200, 300), batch_size=2, seed=0)
      >>> batch = next(iter(batches))
      >>> batch["tokens"].shape, batch["weights"].sum(axis=1).tolist()
      ((2, 8), [7.0, 7.0])
    """
    if len(tokens) < corruption.raw:
        raise ConfigError(
            f"the corpus has {len(tokens)} tokens, and an example takes {corruption.raw}; lower "
            "the length or give more text"
        )
    windows = Windows.of([tokens], length=corruption.raw, seed=seed)
    rows, per_row = host_rows(batch_size, shard), corruption.per_row

    def batch(step: int) -> dict[str, np.ndarray]:
        first = step * batch_size
        places = range((first + rows.start) * per_row, (first + rows.stop) * per_row)
        examples = [corruption.example(text, rng) for text, rng in windows.draw(places)]
        return corruption.arrange(
            [examples[at : at + per_row] for at in range(0, len(examples), per_row)]
        )

    return endless(batch, batch_size * per_row, 0)
