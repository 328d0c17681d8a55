"""DataTrove's rules and MinHash on the same documents and with the same splitter of words."""

from collections.abc import Sequence
from typing import Any

import xxhash
from datatrove.data import Document as TroveDocument
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils import text as trove_text
from datatrove.utils.word_tokenizers import WordTokenizer

from jaxrec.data.corpora import Splitters

FILTERS = {
    "gopher_repetition": GopherRepetitionFilter,
    "gopher_quality": GopherQualityFilter,
    "c4": C4QualityFilter,
    "fineweb": FineWebQualityFilter,
}
# What DataTrove calls the reasons of jaxrec's rules.
REASONS = {
    "gopher_short_doc": "too few words",
    "gopher_long_doc": "too many words",
    "gopher_below_avg_threshold": "words too short",
    "gopher_above_avg_threshold": "words too long",
    "gopher_too_many_hashes": "too many hashes",
    "gopher_too_many_ellipsis": "too many ellipses",
    "gopher_too_many_bullets": "too many bullets",
    "gopher_too_many_end_ellipsis": "too many lines end with an ellipsis",
    "gopher_below_alpha_threshold": "too few words with letters",
    "gopher_enough_stop_words": "too few stop words",
    "dup_para_frac": "repeated paragraphs",
    "dup_para_char_frac": "characters of repeated paragraphs",
    "dup_line_frac": "repeated lines",
    "dup_line_char_frac": "characters of repeated lines",
    **{f"top_{n}_gram": f"most frequent run of {n} words" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"repeated runs of {n} words" for n in range(5, 11)},
    "lorem_ipsum": "lorem ipsum",
    "curly_bracket": "curly bracket",
    "too_few_sentences": "too few sentences",
    "empty": "empty",
    "line_punct_ratio": "too few lines end a sentence",
    "short_line_ratio": "too many short lines",
    "char_dup_ratio": "characters of repeated lines",
    "list_ratio": "too many line breaks",
}


class _Splitter(WordTokenizer):
    """A splitter of jaxrec in the form that DataTrove takes in place of a language."""

    def __init__(self, split: Splitters) -> None:
        super().__init__("en")
        self.split = split

    def word_tokenize(self, text: str) -> list[str]:
        return self.split.words(text)

    def sent_tokenize(self, text: str) -> list[str]:
        return self.split.sentences(text)

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        spans, at = [], 0
        for sentence in self.split.sentences(text):
            at = text.index(sentence, at) + len(sentence)
            spans.append((at - len(sentence), at))
        return spans


class Rules:
    """DataTrove's filters, which share its splits; `split` is None for its own splitter."""

    def __init__(self, split: Splitters | None) -> None:
        language: Any = "en" if split is None else _Splitter(split)
        self.filters = {name: kind(language=language) for name, kind in FILTERS.items()}

    def alone(self, name: str, text: str) -> tuple[str, str]:
        """What one rule says of a text: the reason or "", and the text that it leaves."""
        document = TroveDocument(text=text, id="0")
        found = self.filters[name].filter(document)
        if found is True:
            return "", document.text
        return REASONS[found[1]], ""

    def all(self, text: str) -> None:
        """Apply the rules one after the other, whatever each says, as the measurement does."""
        document = TroveDocument(text=text, id="0")
        for rule in self.filters.values():
            rule.filter(document)

    def forget(self) -> None:
        """Empty the cache of splits."""
        trove_text.split_into_parts.cache_clear()


class Signatures:
    """DataTrove's first stage of MinHash, without its files."""

    def __init__(self, folder: str, split: Splitters | None) -> None:
        language: Any = "en" if split is None else _Splitter(split)
        self._step = MinhashDedupSignature(folder, MinhashConfig(), language=language)
        # DataTrove gives xxhash text, and versions from 4 on take bytes alone.
        self._step._hash_func = lambda text: xxhash.xxh64_intdigest(text.encode())

    def of(self, texts: Sequence[str]) -> None:
        """Compute the signatures of some texts."""
        for text in texts:
            shingles = self._step.get_shingles(text)
            if shingles.size:
                self._step.get_signature(shingles)
