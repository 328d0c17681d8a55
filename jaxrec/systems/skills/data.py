"""The texts of a run, and the labels that it trains on: gold ones, or those of a lexicon."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import (
    Lexicon,
    Matcher,
    Span,
    TaggedText,
    TaggedTexts,
    TagSet,
    drop_repeated_texts,
    filter_lexicon,
    read_conll,
    read_skill_labels,
    read_skillspan,
    repair_tags,
    spans_of_tags,
)
from jaxrec.data.corpora import find_text
from jaxrec.systems.skills.config import DistantConfig, SkillDataConfig, SkillsConfig

# The tags of one kind; kinds do not share tags, so one set serves them all.
TAGS = TagSet(("span",))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SkillTexts:
    """The texts of a run.

    Attributes:
      name: of the data.
      kinds: of spans.
      parts: texts by the name of their part: "train", "valid", "test".
      dropped: number of training texts that were repeated, or that the test file has too.
      repaired: number of tags that were illegal and have been repaired.
    """

    name: str
    kinds: tuple[str, ...]
    parts: Mapping[str, Sequence[TaggedText]]
    dropped: int
    repaired: int

    def describe(self) -> Mapping[str, object]:
        """Say what the run is trained and measured on: JSON-able."""
        digest = hashlib.sha256()
        for name, texts in self.parts.items():
            digest.update(f"{name}\0".encode())
            for text in texts:
                digest.update("\0".join([*text.words, repr(text.spans), "\n"]).encode())
        counts: dict[str, object] = {name: len(texts) for name, texts in self.parts.items()}
        spans = {
            f"{kind}_spans": sum(len(text.of_kind(kind)) for text in self.parts["test"])
            for kind in self.kinds
        }
        facts = {"dataset": self.name, "dropped": self.dropped, "repaired": self.repaired}
        return facts | counts | spans | {"fingerprint": digest.hexdigest()}

    def __str__(self) -> str:
        """Describe the texts in a line, to print before training."""
        counts = ", ".join(f"{len(texts):,} in {name}" for name, texts in self.parts.items())
        more = f"; {self.repaired} illegal tags repaired" if self.repaired else ""
        return (
            f"{self.name}: {counts} texts; {self.dropped:,} repeated training texts left out{more}"
        )


def load_texts(config: SkillDataConfig) -> SkillTexts:
    """Read the texts and split them.

    Raises:
      DataError: a file is missing or damaged, or a part has no spans.
    """
    train, test = (_read(config, path) for path in (config.train, config.test))
    measured = {text.words for text in test.texts}
    kept = [text for text in drop_repeated_texts(train.texts) if text.words not in measured]
    order = np.random.default_rng(config.seed).permutation(len(kept))
    count = round(config.valid * len(kept))
    parts = {
        "train": [kept[place] for place in sorted(order[count:].tolist())],
        "valid": [kept[place] for place in sorted(order[:count].tolist())],
        "test": list(test.texts),
    }
    for name, texts in parts.items():
        for kind in config.kinds:
            if not any(text.of_kind(kind) for text in texts):
                raise DataError(
                    f"data.name {config.name}: the part {name} has no spans of the kind {kind}; "
                    "give other files, or other --data.kinds"
                )
    return SkillTexts(
        name=config.name,
        kinds=config.kinds,
        parts=parts,
        dropped=len(train) - len(kept),
        repaired=train.repaired + test.repaired,
    )


def _read(config: SkillDataConfig, path: str) -> TaggedTexts:
    place = find_text(path)
    if config.format == "conll":
        return read_conll(place, illegal=config.illegal)
    return read_skillspan(place, config.kinds, config.illegal)


def make_lexicons(config: SkillsConfig, texts: Sequence[TaggedText]) -> list[Lexicon]:
    """The lexicon of each kind.

    Args:
      config: of the run.
      texts: training texts, with their gold spans.

    Raises:
      ConfigError: nothing is left of a lexicon.
      DataError: a file of phrases is missing or empty.
    """
    distant = config.distant
    found = []
    for place, kind in enumerate(config.data.kinds):
        if distant.lexicons:
            labels = read_skill_labels(find_text(distant.lexicons[place]))
            lexicon = Lexicon.of(kind, labels)
        else:
            lexicon = Lexicon.of(kind, [p for text in texts for p in text.phrases(kind)])
        lexicon = lexicon.sample(distant.coverage, distant.seed)
        words = [text.words for text in texts]
        kept = filter_lexicon(
            lexicon,
            words,
            min_count=distant.min_count,
            max_count=distant.max_count,
            min_pmi=distant.min_pmi,
        )
        known = distant.uncertain == "unknown"
        found.append(kept if known else Lexicon(kind, kept.certain))
    return found


def matched_spans(
    lexicons: Sequence[Lexicon], texts: Sequence[TaggedText]
) -> list[tuple[Span, ...]]:
    """What lexicons alone would tag: the certain matches of each kind in each text."""
    matchers = [Matcher.of([lexicon], partial=0) for lexicon in lexicons]
    return [
        tuple(span for matcher in matchers for span in matcher.label(text.words).spans)
        for text in texts
    ]


def label_texts(
    kinds: Sequence[str],
    texts: Sequence[TaggedText],
    lexicons: Sequence[Lexicon] = (),
    distant: DistantConfig | None = None,
) -> list[np.ndarray]:
    """The tags that each word may have, by its gold spans or by lexicons.

    Args:
      kinds: of spans.
      texts: the texts.
      lexicons: one for each kind; () for gold labels.
      distant: how lexicons are matched; None for gold labels.

    Returns:
      For each text, `[W, K, C]` bool.
    """
    if distant is None:
        tags = [[text.tags(kind) for kind in kinds] for text in texts]
    else:
        matchers = [
            Matcher.of([lexicon], partial=distant.partial, unmatched=distant.unmatched)
            for lexicon in lexicons
        ]
        tags = [
            [matcher.label(text.words).tags(len(text.words)) for matcher in matchers]
            for text in texts
        ]
    return [
        TAGS.allowed(np.stack([_numbers(layer) for layer in layers], axis=1)) for layers in tags
    ]


def open_cut_spans(allowed: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Make the words of spans unknown that are cut at the edge of a row.

    A row that ends inside a span has no legal sequence, and neither has the next one. The tags of
    the words at such an edge become unknown, up to the first word that begins or ends there.

    Args:
      allowed: `[N, W, K, C]` bool, labels of rows.
      present: `[N, W]` bool.

    Returns:
      A copy, `[N, W, K, C]` bool.
    """
    allowed = allowed.copy()
    _, starts, ends = TAGS.legal
    for row, layer in np.ndindex(len(allowed), allowed.shape[2]):
        labels = allowed[row, present[row], layer]
        count = len(labels)
        for places, edge, stop in (
            (range(count), starts, ends),
            (range(count - 1, -1, -1), ends, starts),
        ):
            # The first word after the edge says whether a span is cut.
            for place in places if count and not (labels[places[0]] & edge).any() else ():
                last = (labels[place] & stop).any()
                allowed[row, place, layer] = True
                if last:
                    break
    return allowed


def _numbers(tags: Sequence[str]) -> np.ndarray:
    """Numbers in `TAGS` of tags of any one kind."""
    return TAGS.numbers([tag[:2] + TAGS.kinds[0] if tag[1:2] == "-" else tag for tag in tags])


def spans_of_numbers(tags: np.ndarray, kind: str) -> tuple[list[Span], int]:
    """The spans of predicted tags, `[W]` int, and how many tags were repaired to be legal."""
    repaired, changed = repair_tags([TAGS.names[number] for number in tags.tolist()])
    return [Span(s.start, s.end, kind) for s in spans_of_tags(repaired)], changed
