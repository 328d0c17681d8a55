"""A run of skill extraction as one frozen value."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.core import (
    ConfigError,
    Count,
    NotNegative,
    Number,
    Positive,
    Rate,
    Seed,
    Share,
    Whole,
    check_ranges,
)
from jaxrec.data import SKILLSPAN_KINDS, Illegal, Unmatched
from jaxrec.objectives import Replacement
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkillDataConfig:
    """Tagged texts, and which of them validate.

    Attributes:
      name: what the data are called.
      format: "skillspan" for its JSON lines, "conll" for columns of words and BIO tags.
      train: file to train on. A relative path is looked up below JAXREC_DATA too.
      test: file to measure on. Texts of it that the training file has too are left out of training.
      kinds: kinds of spans. Each has tags of its own, so spans of different kinds may overlap.
      illegal: what an illegal sequence of tags is: an "error", or "repair" and count it.
      valid: share of the training texts that rank checkpoints.
      seed: of the split.
    """

    name: str = "skillspan"
    format: Literal["skillspan", "conll"] = "skillspan"
    train: str = "skillspan/train.json.gz"
    test: str = "skillspan/dev.json.gz"
    kinds: tuple[str, ...] = SKILLSPAN_KINDS
    illegal: Illegal = "error"
    valid: Share = 0.15
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject data without kinds, and a split without a part."""
        check_ranges(self, "--data.")
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ConfigError(
                f"data.kinds {' '.join(self.kinds)} must be one or more different names"
            )
        if not 0 < self.valid < 1:
            raise ConfigError(
                f"data.valid {self.valid} must be in (0, 1), so that both parts have texts"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistantConfig:
    """Labels by a lexicon in place of the gold labels of the training texts.

    Attributes:
      coverage: share of the different gold phrases of the training texts that the lexicon has; 0
        trains on the gold labels. With `lexicons` it is the share of their phrases.
      lexicons: files of phrases, one for each kind, such as ESCO's labels; () takes the phrases
        from the training texts, which simulates a lexicon of known coverage.
      min_count: fewest occurrences of a phrase in the training texts.
      max_count: phrases that occur more often are uncertain; 0 for no limit.
      min_pmi: phrases of several words whose words belong together less than this (in nats, see
        `phrase_pmi`) are uncertain.
      uncertain: words of uncertain phrases are of "unknown" label, or "outside" of all skills.
      partial: fewest words of a partial match, whose labels are uncertain; 0 for no such matches.
      unmatched: words without a match are "outside" of all skills, or of "unknown" label.
      seed: of the draw of the lexicon.
    """

    coverage: Share = 0.0
    lexicons: tuple[str, ...] = ()
    min_count: Count = 1
    max_count: Whole = 0
    min_pmi: Number = -100.0
    uncertain: Unmatched = "unknown"
    partial: Whole = 0
    unmatched: Unmatched = "outside"
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject settings that would be ignored."""
        check_ranges(self, "--distant.")
        changed = [f.name for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]
        if not self.coverage and changed:
            raise ConfigError(
                f"--distant.coverage is 0, so gold labels are used and --distant.{changed[0]} is "
                "ignored; set the coverage above 0"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaggerConfig:
    """The model.

    Attributes:
      encoder: directory of an encoder like BERT with its tokenizer; "" for the sentence encoder
        that JAXREC_TEXT_ENCODER names, or that is installed.
      layers: number of the encoder's upper layers that are trained. The others stay as they are,
        and their states are computed once.
      max_length: most tokens of a row; a longer text is cut between words into several rows.
      crf: whether a CRF scores transitions between tags. Without one, each word is classified on
        its own, and illegal sequences are repaired.
      dropout: rate on the states of words that the head reads.
      gain: factor of the head's and the CRF's parameters, by which they learn faster than the
        encoder.
      buckets: number of lengths of rows in training.
    """

    encoder: str = ""
    layers: Count = 3
    max_length: Count = 128
    crf: bool = True
    dropout: Rate = 0.1
    gain: Positive = 10.0
    buckets: Count = 4

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--tagger.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkillLossConfig:
    """Terms of the loss beside the likelihood of the labels.

    Attributes:
      ratio: weight of the expected entity ratio, per word; 0 for none.
      shares: ρ, the expected share of words inside spans: one number for all kinds, or one for
        each.
      margin: γ, by which the share may differ at no cost.
      contrast: weight of the contrast between words inside and outside of spans; 0 for none.
      temperature: τ of the contrast.
      contrast_words: most words of a batch in the contrast.
    """

    ratio: NotNegative = 0.0
    shares: tuple[Share, ...] = (0.15,)
    margin: Share = 0.05
    contrast: NotNegative = 0.0
    temperature: Positive = 0.1
    contrast_words: Count = 256

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--loss.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """Teacher and student: further trainings, each on labels that the last model corrects.

    Attributes:
      rounds: number of students; 0 for none. Each begins with the parameters of its teacher.
      threshold: probability of its likeliest tag from which on a teacher is confident of a word.
      replace: what becomes of labels that a confident teacher contradicts: "teacher" takes its tag,
        "unknown" lets the label go.
      soft: weight of the teacher's soft labels on words of which it is confident.
      steps: steps of each student.
      lr: learning rate of the students.
    """

    rounds: Whole = 0
    threshold: Share = 0.9
    replace: Replacement = "teacher"
    soft: NotNegative = 1.0
    steps: Count = 100
    lr: Positive = 1e-4

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--student.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkillsEvalConfig:
    """How a tagger is measured.

    Attributes:
      batch_size: rows of full length in each call of the model; shorter rows are more.
      resamples: number of resamples of the bootstrap over texts.
    """

    batch_size: Count = 16
    resamples: Count = 1000

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--eval.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkillsConfig:
    """A run of skill extraction.

    Attributes:
      data: tagged texts.
      distant: labels by a lexicon.
      tagger: the model.
      loss: terms of the loss.
      student: training of students.
      train: training of the first model; `batch_size` counts rows of full length. Checkpoints are
        ranked by the strict F1 of validation texts with their gold labels. The defaults were chosen
        by the validation texts of SkillSpan.
      eval: measurements.

    Example:
      >>> from jaxrec.systems.skills import SkillsConfig
      >>> SkillsConfig().data.kinds
      ('skill', 'knowledge')
    """

    system: ClassVar[str] = "jaxrec.systems.skills"

    data: SkillDataConfig = SkillDataConfig()
    distant: DistantConfig = DistantConfig()
    tagger: TaggerConfig = TaggerConfig()
    loss: SkillLossConfig = SkillLossConfig()
    student: StudentConfig = StudentConfig()
    train: TrainConfig = TrainConfig(
        steps=640,
        batch_size=8,
        lr=5e-4,
        warmup_steps=40,
        schedule="linear",
        weight_decay=0.01,
        eval_every=160,
        log_every=20,
    )
    eval: SkillsEvalConfig = SkillsEvalConfig()

    def __post_init__(self) -> None:
        """Reject settings that do not belong together."""
        check_ranges(self, "--")
        kinds = len(self.data.kinds)
        if len(self.loss.shares) not in (1, kinds):
            raise ConfigError(
                f"loss.shares has {len(self.loss.shares)} numbers; give one, or one for each of "
                f"{kinds} kinds"
            )
        if self.distant.lexicons and len(self.distant.lexicons) != kinds:
            raise ConfigError(
                f"distant.lexicons has {len(self.distant.lexicons)} files; give one for each of "
                f"{kinds} kinds ({', '.join(self.data.kinds)})"
            )
        if not self.student.rounds and self.student != StudentConfig():
            raise ConfigError(
                "--student.rounds is 0, so the other settings of --student are ignored; set it to "
                "at least 1"
            )
