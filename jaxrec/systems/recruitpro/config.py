"""A run of RecruitPro as one frozen value."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.core import (
    ConfigError,
    Count,
    NotNegative,
    Positive,
    Rate,
    Whole,
    check_ranges,
)
from jaxrec.data.recruitment import TaskOptions, WorldOptions
from jaxrec.systems.recruitpro.data import WORLD, RecruitmentConfig
from jaxrec.train import TrainConfig

Form = Literal["cls", "prompt", "skill_prompt"]
Extractor = Literal["lexicon", "tagger", "none"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The encoder that all tasks share.

    Attributes:
      base: directory of a pre-trained encoder with its tokenizer: a run of `pretrain` with the
        objective mlm_nsp, or an encoder in the format of Hugging Face. "" for the sentence encoder
        that JAXREC_TEXT_ENCODER names, or that is installed.
      from_scratch: keep the base's tokenizer and shape, and draw its parameters at random.
      frozen: train prompts and heads only, and leave the encoder as it is.
    """

    base: str = ""
    from_scratch: bool = False
    frozen: bool = False

    def __post_init__(self) -> None:
        """Reject a random encoder that never learns."""
        check_ranges(self, "--encoder.")
        if self.from_scratch and self.frozen:
            raise ConfigError(
                "--encoder.from-scratch True and --encoder.frozen True would leave the encoder "
                "random; set one of them to False"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputConfig:
    """How a text is laid out, and where it is classified.

    Attributes:
      form: "cls" reads the state of the first token and has no prompts. "prompt" reads the state of
        the mask, with all prompts of a task its own: P-tuning. "skill_prompt" shares the skill
        prompt among all tasks.
      slots: numbers of prompt vectors: of the first task prompt, of the skill prompt, and of the
        task prompts before the mask and after it.
      text_tokens: most tokens of a text, without those of the layout.
      skill_tokens: most tokens of a skill sentence.
      chunk_tokens: most tokens of a chunk of a resume or of a job in the matching form.
      chunks: most chunks of a resume and of a job in the matching form. What is beyond is not read;
        the run says how many texts that concerns.
    """

    form: Form = "skill_prompt"
    slots: tuple[Count, Count, Count, Count] = (3, 6, 3, 3)
    text_tokens: Count = 80
    skill_tokens: Count = 32
    chunk_tokens: Count = 48
    chunks: Count = 2

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--input.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuxiliaryConfig:
    """The skill sentence beside each text, and the two losses that read it.

    Attributes:
      extractor: where the skills of a text come from. "lexicon" finds the skills that the records
        of the training rows name; "tagger" asks a trained run of skill extraction. With "none"
        there is no skill sentence: the comparison is between the texts, and nothing is similar.
      tagger: directory of the run that the extractor "tagger" asks.
      similarity: λ₁, weight of the similarity of a text's skill prompt and its skill sentence's.
      comparison: λ₂, weight of the contrast between skill sentences of different labels.
      temperature: τ of the contrast.
      bins: number of quantiles that serve as labels where a task predicts a number.
      detach: train only the text's side of the similarity, which cannot collapse then.
      center: subtract the batch's mean from both sides before vectors are compared. In a shallow
        encoder, a skill prompt's state is nearly the same beside all texts: the prompt's own vector
        dominates it, and raw cosines are above .98 whatever the text says.
    """

    extractor: Extractor = "lexicon"
    tagger: str = ""
    similarity: NotNegative = 0.1
    comparison: NotNegative = 0.1
    temperature: Positive = 0.1
    bins: Count = 5
    detach: bool = False
    center: bool = False

    def __post_init__(self) -> None:
        """Reject an extractor without its run, or the other way round, and a loss of nothing."""
        check_ranges(self, "--auxiliary.")
        if (self.extractor == "tagger") != bool(self.tagger):
            raise ConfigError(
                f"--auxiliary.extractor is {self.extractor} and --auxiliary.tagger is "
                f"{self.tagger!r}; the extractor tagger needs the directory of a run of skill "
                "extraction, and no other extractor reads one"
            )
        if self.extractor == "none" and self.similarity:
            raise ConfigError(
                f"--auxiliary.extractor none leaves nothing that a text is similar to, and "
                f"--auxiliary.similarity is {self.similarity}; set it to 0"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecruitEvalConfig:
    """How a run is measured.

    Attributes:
      batch_size: texts in each call of the model.
      valid_rows: rows of each task in a validation, the first ones; 0 for all.
      resamples: number of resamples of the bootstrap over rows.
    """

    batch_size: Count = 64
    valid_rows: Whole = 0
    resamples: Count = 1000

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--eval.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecruitProConfig:
    """A run of RecruitPro, or of one of its baselines.

    Attributes:
      data: where the records come from.
      world: which world is made up, if the records are.
      tasks: the tasks that one encoder learns together, one batch of a task after the other, and
        their splits. A single name trains that task alone.
      encoder: the encoder.
      input: layout of a text.
      auxiliary: the skill sentences and their losses; read with the form "skill_prompt" only.
      per_class: rows of each class in a batch of a task, as far as the class has them.
      pairs: rows of a batch of the matching form, which has several texts a row.
      dropout: rate on the state that a head reads.
      gain: factor of the heads' parameters, by which they learn faster than the encoder.
      train: training; `batch_size` counts rows of a batch of single texts. Checkpoints are ranked
        by the mean accuracy over the tasks on validation rows.
      eval: measurements.

    Example:
      >>> from jaxrec.systems.recruitpro import RecruitProConfig
      >>> RecruitProConfig().input.form
      'skill_prompt'
    """

    system: ClassVar[str] = "jaxrec.systems.recruitpro"

    data: RecruitmentConfig = RecruitmentConfig()
    world: WorldOptions = WorldOptions()
    tasks: TaskOptions = TaskOptions()
    encoder: EncoderConfig = EncoderConfig()
    input: InputConfig = InputConfig()
    auxiliary: AuxiliaryConfig = AuxiliaryConfig()
    per_class: Count = 2
    pairs: Count = 16
    dropout: Rate = 0.1
    gain: Positive = 10.0
    train: TrainConfig = TrainConfig(
        steps=600,
        batch_size=32,
        lr=5e-4,
        warmup_steps=60,
        schedule="linear",
        weight_decay=0.01,
        eval_every=300,
    )
    eval: RecruitEvalConfig = RecruitEvalConfig()

    def __post_init__(self) -> None:
        """Reject settings that nothing reads."""
        check_ranges(self, "--")
        if self.world != WorldOptions() and self.data.name != WORLD:
            raise ConfigError(
                f"--world is read with --data.name {WORLD} only, got {self.data.name}; leave the "
                "world as it is"
            )
        if self.input.form != "skill_prompt" and self.auxiliary != OFF:
            raise ConfigError(
                f"--input.form {self.input.form} has no skill prompt, so --auxiliary is not read; "
                "set it to jaxrec.systems.recruitpro.OFF, or --input.form to skill_prompt"
            )
        if self.train.accumulate > 1:
            raise ConfigError(
                f"--train.accumulate {self.train.accumulate} would split batches whose rows are "
                "compared with one another; set it to 1"
            )


# No auxiliary sentence and no loss beside the task's: for the forms without a skill prompt.
OFF = AuxiliaryConfig(extractor="none", similarity=0.0, comparison=0.0)
