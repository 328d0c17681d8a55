"""Settings of a corpus: where its documents come from, and every stage that they pass."""

import dataclasses
from typing import Annotated, ClassVar, Literal, get_args

from jaxrec.core import (
    ConfigError,
    Count,
    NotNegative,
    Positive,
    Range,
    Seed,
    Share,
    Whole,
    check_ranges,
    nearest,
)
from jaxrec.data import MODES
from jaxrec.data.corpora.documents import Source
from jaxrec.data.corpora.duplicates import Duplicates
from jaxrec.data.corpora.privacy import Privacy
from jaxrec.data.corpora.quality import C4, FineWeb, GopherQuality, GopherRepetition
from jaxrec.data.corpora.words import SplitterName

RuleName = Literal["gopher_quality", "gopher_repetition", "c4", "fineweb"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """Rules of quality, applied in the order that is given.

    Attributes:
      rules: names of the rules; none to apply none.
      words: how words and sentences are split: "plain" needs no package, "spacy" is DataTrove's.
      gopher_quality: limits of Gopher's quality rules.
      gopher_repetition: limits of Gopher's repetition rules.
      c4: limits of C4's rules.
      fineweb: limits of FineWeb's rules.
    """

    rules: tuple[RuleName, ...] = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
    words: SplitterName = "plain"
    gopher_quality: GopherQuality = GopherQuality()
    gopher_repetition: GopherRepetition = GopherRepetition()
    c4: C4 = C4()
    fineweb: FineWeb = FineWeb()

    def __post_init__(self) -> None:
        """Reject unknown and repeated rules."""
        names = get_args(RuleName)
        for rule in self.rules:
            if rule not in names:
                raise ConfigError(
                    f"--quality.rules {rule!r} is unknown{nearest(str(rule), names)}; rules: "
                    f"{', '.join(names)}"
                )
        if len(set(self.rules)) < len(self.rules):
            raise ConfigError(f"--quality.rules {self.rules} names a rule twice; name it once")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """Filters by a score, each fitted on reference files; one without files is not applied.

    Attributes:
      languages: files by language, such as "en=samples/en.txt"; one document a line.
      keep_languages: languages of the documents that are kept.
      language_threshold: smallest probability of the language.
      ngram_texts: files that the n-gram model is fitted on; one document a line.
      ngram_order: words of its longest n-gram.
      min_perplexity, max_perplexity: the band that is kept; 0 for no upper end.
      good, bad: files of both classes of the classifier; one document a line.
      pareto: shape of the Pareto variate that keeps some documents of low quality.
    """

    languages: tuple[str, ...] = ()
    keep_languages: tuple[str, ...] = ("en",)
    language_threshold: Share = 0.65
    ngram_texts: tuple[str, ...] = ()
    ngram_order: Count = 3
    min_perplexity: NotNegative = 0.0
    max_perplexity: NotNegative = 0.0
    good: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    pareto: Positive = 9.0

    def __post_init__(self) -> None:
        """Reject numbers out of range, and settings that contradict each other."""
        check_ranges(self, "--scores.")
        named = [entry.partition("=")[0] for entry in self.languages if "=" in entry]
        if len(named) < len(self.languages) or len(set(named)) == 1:
            raise ConfigError(
                f"--scores.languages {self.languages} must name files of two languages or more as "
                "LANGUAGE=FILE"
            )
        missing = [name for name in self.keep_languages if named and name not in named]
        if missing:
            raise ConfigError(
                f"--scores.keep-languages {missing[0]!r} is not among --scores.languages: "
                f"{', '.join(named)}"
            )
        if bool(self.good) != bool(self.bad):
            raise ConfigError("--scores.good and --scores.bad belong together; give files of both")
        if self.max_perplexity and self.max_perplexity < self.min_perplexity:
            raise ConfigError(
                f"--scores.max-perplexity {self.max_perplexity} is below --scores.min-perplexity "
                f"{self.min_perplexity}; no document would be kept"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Evaluation sets whose text must not be in the corpus.

    Attributes:
      paths: their files; every document is looked for.
      column: the column of the text, for JSON lines and Parquet.
      words: words of a run that must not be shared.
    """

    paths: tuple[str, ...] = ()
    column: str = ""
    words: Count = 13

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--evaluation.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """The tokenizer that is trained on the corpus.

    Attributes:
      kind: "bpe" is byte-level, "unigram" has byte fallback, and "none" writes no tokens.
      path: the directory of an existing tokenizer to use instead.
      vocab_size: all tokens, the reserved ones among them.
      sentinels: number of sentinels <extra_id_0>, <extra_id_1>, ...
      modes: further reserved tokens, such as those that name a denoiser.
      split_digits: make every digit a token.
      documents: number of documents to train on, spread evenly over the corpus; 0 for all.
    """

    kind: Literal["bpe", "unigram", "none"] = "bpe"
    path: str = ""
    vocab_size: Count = 8192
    sentinels: Whole = 100
    modes: tuple[str, ...] = tuple(MODES.values())
    split_digits: bool = False
    documents: Whole = 100_000

    def __post_init__(self) -> None:
        """Reject numbers out of range, an unknown kind and repeated reserved tokens."""
        check_ranges(self, "--tokenizer.")
        if self.kind not in ("bpe", "unigram", "none"):
            raise ConfigError(f"--tokenizer.kind {self.kind!r} must be bpe, unigram or none")
        if len(set(self.modes)) < len(self.modes):
            raise ConfigError(f"--tokenizer.modes {self.modes} names a token twice; name it once")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blocks:
    """Blocks of tokens: documents in a row, each followed by the end token.

    Attributes:
      length: tokens of a block.
      form: the files' format.
    """

    length: Annotated[int, Range(1, 1 << 20)] = 512
    form: Literal["array_record", "parquet"] = "array_record"

    def __post_init__(self) -> None:
        """Reject numbers out of range and an unknown format."""
        check_ranges(self, "--blocks.")
        if self.form not in ("array_record", "parquet"):
            raise ConfigError(f"--blocks.form {self.form!r} must be array_record or parquet")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """A corpus for pre-training.

    Attributes:
      source: the files of the documents.
      quality: rules of quality.
      scores: filters by language, perplexity and a classifier.
      evaluation: evaluation sets that must not be in the corpus.
      duplicates: removal of repeated documents and parts.
      personal: replace personal data.
      privacy: which personal data.
      tokenizer: the tokenizer that is trained.
      blocks: how tokens are packed.
      shard_documents: largest number of documents that are read for a shard.
      seed: of hash functions and variates.
    """

    command: ClassVar[str] = "corpus"

    source: Source = Source()
    quality: Quality = Quality()
    scores: Scores = Scores()
    evaluation: Evaluation = Evaluation()
    duplicates: Duplicates = Duplicates()
    personal: bool = True
    privacy: Privacy = Privacy()
    tokenizer: Tokenizer = Tokenizer()
    blocks: Blocks = Blocks()
    shard_documents: Count = 10_000
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--")
