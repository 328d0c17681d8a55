"""A pre-training run as one frozen value."""

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

from jaxrec.core import (
    ConfigError,
    Count,
    Range,
    Rate,
    Seed,
    Share,
    Whole,
    check_ranges,
)
from jaxrec.data.corpora import Form
from jaxrec.data.recruitment import WorldOptions
from jaxrec.models import TransformerConfig
from jaxrec.objectives import MIXTURES, Denoiser, Noise, mixture
from jaxrec.train import TrainConfig

# The name of a corpus that is made up: the texts of a planted world of recruitment.
WORLD = "recruitment-world"
Kind = Literal["causal", "prefix", "encoder_decoder", "encoder"]
Objective = Literal[
    "lm",
    "prefix_lm",
    "denoising",
    "masking",
    "deletion",
    "infilling",
    "ul2",
    "three_way",
    "ul2r",
    "mlm_nsp",
]
_SINGLE: dict[str, Noise] = {
    "lm": "whole",
    "prefix_lm": "suffix",
    "denoising": "spans",
    "masking": "mask",
    "deletion": "delete",
    "infilling": "infill",
}
_PUBLISHED = {"prefix_lm": 0.5} | dict.fromkeys(("masking", "deletion", "infilling"), 0.3)
# Which settings of `ObjectiveConfig` an objective reads; every other one must keep its default.
_READS = {
    "lm": (),
    "prefix_lm": ("rate",),
    "denoising": ("rate", "span", "roll"),
    "masking": ("rate",),
    "deletion": ("rate",),
    "infilling": ("rate", "span"),
    "mlm_nsp": ("rate", "whole_words", "phrases", "salient", "following"),
} | dict.fromkeys(MIXTURES, ("language",))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainDataConfig:
    """The documents to train on, and how they are split.

    Attributes:
      name: a known corpus ("wikitext-2"), or what another one is called. "recruitment-world" makes
        up the texts of `world`.
      paths: files, directories or patterns to read instead of searching for `name`: text, JSON
        lines or Parquet, plain or gzipped, or the directory of a prepared corpus.
      form: how a text file holds documents; "auto" takes one document a file, or the rows of JSON
        lines and Parquet. See `jaxrec.data.corpora.Source`.
      column: column of the text; "" finds it.
      valid: share of documents for validation.
      test: share of documents for test.
      seed: seed of the split. A corpus of few documents is cut inside the documents instead.
      world: which world "recruitment-world" is: all its jobs, resumes and interviewers' texts. A
        world of the same seed and other sizes has other records of the same occupations.
      phrases: file of phrases, one a line, that `--objective.phrases` predicts as one word; "" for
        the skills of "recruitment-world".

    Raises:
      ConfigError: a share is out of range, nothing is left to train on, or a world is not read.
    """

    name: str = "wikitext-2"
    paths: tuple[str, ...] = ()
    form: Form = "auto"
    column: str = ""
    valid: Share = 0.05
    test: Share = 0.1
    seed: Seed = 0
    world: WorldOptions = WorldOptions()
    phrases: str = ""

    def __post_init__(self) -> None:
        """Reject a split without training part, or without a part to measure."""
        check_ranges(self, "--data.")
        if self.world != WorldOptions() and (self.name != WORLD or self.paths):
            raise ConfigError(
                f"--data.world is read with --data.name {WORLD} and without --data.paths only, got "
                f"the name {self.name}; leave the world as it is, or set the name"
            )
        if not 0 < self.valid + self.test < 1 or not self.valid or not self.test:
            raise ConfigError(
                f"--data.valid {self.valid} and --data.test {self.test} must both be above 0 and "
                "add up to less than 1"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What a model learns from a text.

    Attributes:
      name: "lm" writes the whole text, "prefix_lm" goes on after a prefix, "denoising" is T5's span
        corruption, "masking", "deletion" and "infilling" are BART's, "ul2" (seven denoisers),
        "three_way" and "ul2r" are mixtures of denoisers with mode tokens, and "mlm_nsp" is BERT's.
      rate: share of tokens that are removed or predicted; of "prefix_lm", mean share of the rest. 0
        for the published one: .15, .5 of "prefix_lm", and .3 of BART's.
      span: mean length of a removed span.
      roll: roll the mask of spans, so that all tokens are removed equally often.
      language: share of a mixture's examples that are plain language modeling.
      whole_words: predict whole words ("mlm_nsp").
      phrases: with whole words, predict a phrase of `--data.phrases` as one word ("mlm_nsp"), so
        that no part of it gives the rest away: ERNIE's phrase masking.
      salient: with phrases, share of the examples that hide phrases alone ("mlm_nsp"), so that a
        model learns what they have to do with one another before it knows all other words.
      following: share of pairs whose second part follows the first one in its document ("mlm_nsp");
        always guessing "follows" has an accuracy of at least this share. In the other pairs, masked
        tokens stand beside another document, which tells nothing about them.

    Raises:
      ConfigError: a setting that the objective does not read.

    Example:
      >>> [d.kind for d in ObjectiveConfig(name="ul2r").denoisers]
      ['spans', 'spans', 'spans', 'suffix']
    """

    name: Objective = "lm"
    rate: Rate = 0.0
    span: Annotated[float, Range(1, 1e6)] = 3.0
    roll: bool = False
    language: Rate = 0.0
    whole_words: bool = False
    phrases: bool = False
    salient: Share = 0.0
    following: Share = 0.5

    def __post_init__(self) -> None:
        """Reject settings that would be ignored, and values that no denoiser takes."""
        check_ranges(self, "--objective.")
        for field in dataclasses.fields(self):
            if field.name == "name" or field.name in _READS[self.name]:
                continue
            if (value := getattr(self, field.name)) != field.default:
                reading = [name for name, reads in _READS.items() if field.name in reads]
                raise ConfigError(
                    f"--objective.{field.name.replace('_', '-')} {value} is not read by the "
                    f"objective {self.name}; it belongs to {', '.join(reading)}"
                )

        if self.phrases and not self.whole_words:
            raise ConfigError(
                "--objective.phrases True joins whole words; set --objective.whole-words to True"
            )
        if self.salient and not self.phrases:
            raise ConfigError(
                f"--objective.salient {self.salient:g} hides phrases; set --objective.phrases to "
                "True"
            )

    @property
    def denoisers(self) -> tuple[Denoiser, ...]:
        """How examples are made; () for masked language modeling, which has no targets."""
        if self.name in MIXTURES:
            return mixture(self.name, self.language)
        if self.name == "mlm_nsp":
            return ()
        kind = _SINGLE[self.name]
        return (Denoiser(kind=kind, rate=self.share, span=self.span, roll=self.roll),)

    @property
    def share(self) -> float:
        """The rate, or the published one."""
        return self.rate or _PUBLISHED.get(self.name, 0.15)

    @property
    def has_modes(self) -> bool:
        """Whether inputs begin with the mode of their denoiser."""
        return self.name in MIXTURES


@dataclasses.dataclass(frozen=True)
class StartConfig:
    """What training begins with.

    Attributes:
      embeddings: "random" draws all parameters. With "cooccurrence", each token of the training
        part begins with a vector of the tokens beside which it stands in examples; see
        `jaxrec.data.corpora.cooccurrence_vectors`. A small model then knows at once which words
        belong together, which takes masked language modeling many steps to find.
    """

    embeddings: Literal["random", "cooccurrence"] = "random"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainEvalConfig:
    """How a model is measured.

    Attributes:
      batch_size: rows in each call of the model.
      valid_rows: rows of each validation, spread evenly over the validation part; 0 for all.
      resamples: number of resamples of the bootstrap over rows of the test part.
    """

    batch_size: Count = 32
    valid_rows: Whole = 128
    resamples: Count = 1000

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--eval.")


def flavour(backbone: Kind, **shape: Any) -> TransformerConfig:
    """Return the config of a published model of a backbone, in another shape.

    Args:
      backbone: "causal" and "prefix" give Llama's flavour, "encoder_decoder" T5's, "encoder"
        BERT's. Each can be exported to Hugging Face's format.
      **shape: fields of `TransformerConfig`, such as width and depth.

    Example:
      >>> flavour("encoder", width=32, depth=1).norm_order
      'post'
    """
    kinds: dict[str, dict[str, Any]] = {
        "encoder_decoder": {"positions": "relative", "activation": "relu", "gated": False},
        "encoder": {
            "norm": "layer",
            "norm_order": "post",
            "norm_eps": 1e-12,
            "positions": "learned",
            "token_types": 2,
            "pooler": True,
            "activation": "gelu",
            "gated": False,
            "qkv_bias": True,
            "out_bias": True,
            "mlp_bias": True,
        },
    }
    return TransformerConfig(**kinds.get(backbone, {}) | shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """A pre-training run.

    Attributes:
      data: the corpus.
      tokenizer: directory of a tokenizer; "" trains a byte-level BPE on the training part, with all
        reserved tokens.
      vocab_size: size of a trained tokenizer, 108 reserved tokens included; not read if `tokenizer`
        names one.
      objective: what the model learns.
      backbone: "causal" and "prefix" decoders differ in how they read inputs, in one direction or
        in both; "encoder" only predicts masked tokens.
      length: tokens of an example; of an encoder-decoder, of its inputs and of its targets.
      per_row: number of examples that are packed into a row of a decoder.
      model: shape and flavour, see `flavour`. The size of its vocabulary is the tokenizer's.
      start: what training begins with.
      train: training; `batch_size` counts rows.
      eval: measurements.

    Raises:
      ConfigError: settings that contradict one another.

    Example:
      >>> from jaxrec.systems.pretrain import PretrainConfig
      >>> PretrainConfig(length=64).objective.name
      'lm'
    """

    system: ClassVar[str] = "jaxrec.systems.pretrain"

    data: PretrainDataConfig = PretrainDataConfig()
    tokenizer: str = ""
    vocab_size: Count = 2048
    objective: ObjectiveConfig = ObjectiveConfig()
    backbone: Kind = "causal"
    length: Count = 128
    per_row: Count = 1
    model: TransformerConfig = TransformerConfig(width=128, depth=3, num_heads=4)
    start: StartConfig = StartConfig()
    train: TrainConfig = TrainConfig(batch_size=32)
    eval: PretrainEvalConfig = PretrainEvalConfig()

    def __post_init__(self) -> None:
        """Reject a backbone that cannot learn the objective, and lengths that cannot be read."""
        check_ranges(self, "--")
        masked = self.objective.name == "mlm_nsp"
        made_up = self.data.name == WORLD and not self.data.paths
        if self.data.phrases and not self.objective.phrases:
            raise ConfigError(
                f"--data.phrases {self.data.phrases} is read with --objective.phrases True only; "
                "set that, or leave the phrases out"
            )
        if self.objective.phrases and not (self.data.phrases or made_up):
            raise ConfigError(
                "--objective.phrases True needs --data.phrases, a file of phrases; only "
                f"--data.name {WORLD} has phrases of its own, its skills"
            )
        if masked != (self.backbone == "encoder"):
            able = "encoder" if masked else "causal, prefix or encoder_decoder"
            raise ConfigError(
                f"--backbone {self.backbone} cannot learn the objective {self.objective.name}; "
                f"choose {able}"
            )
        if masked and not (self.model.pooler and self.model.token_types >= 2):
            raise ConfigError(
                "the objective mlm_nsp needs --model.pooler True and --model.token-types of at "
                "least 2; take flavour('encoder')"
            )
        if self.backbone in ("encoder", "encoder_decoder") and self.per_row > 1:
            raise ConfigError(
                f"--per-row is {self.per_row}, and only rows of decoders are packed; set it to 1"
            )
        longest = self.length * self.per_row
        self.model.check_length(longest, "rows of --length", "raise --model.max-length")
