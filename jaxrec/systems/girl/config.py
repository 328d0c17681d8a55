"""A GIRL run as one frozen value."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.align import PpoSettings
from jaxrec.core import (
    ConfigError,
    Count,
    LearningRate,
    NotNegative,
    Rate,
    Seed,
    Share,
    Whole,
    check_ranges,
)
from jaxrec.data.recruitment import SECTIONS, WorldOptions
from jaxrec.models import TransformerConfig
from jaxrec.train import TrainConfig

# The wording of the paper; a small model reads a shorter one in less time.
PAPER_TEMPLATE = (
    "Human: Please generate a suitable job description based on the curriculum vitae of the "
    "following candidate:\n{resume}\nAssistant:\n"
)


# Both reward models learn alike, from applications of other people.
_REWARD = TrainConfig(
    steps=200,
    batch_size=32,
    lr=1e-3,
    warmup_steps=20,
    schedule="linear",
    weight_decay=0.01,
    eval_every=50,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GirlDataConfig:
    """The recruitment world, and who of its people serves for what.

    The people of the four shares are disjoint. Those who are left are the people of the
    recommendation. Jobs are divided too: the jobs of the recommendation are never a target of the
    generator and never compared by a reward model.

    Attributes:
      name: what the data are called.
      world: its size, and how hard it is to read.
      sections: of a resume that are read, beside the basic information; the paper reads one.
      facts: whether everything reads a short form of a resume instead: the years of work, the
        wished salary and the skills that its text names, see `facts`.
      skills: file of ESCO's skills, looked up below JAXREC_DATA too; "" for the built-in list.
      occupations: O*NET's "Occupation Data.txt", looked up in the same way; "" for the built-in
        list.
      generator: share of the people whose matched jobs the generator learns to write.
      reward: share of the people whose applications the reward model compares.
      gold: share of the people for the second reward model, which the policy never sees.
      prompts: share of the people to whom the policy writes while it learns from the reward.
      job_share: share of the jobs that are recommended, and that no generator has seen.
      cold: share of the people of the recommendation, those who apply last, without any training
        row.
      early: share of the applications of any other of these people, the first ones, to train on.
      held_out: share of each group of people, or of the training rows, for validation.
      seed: of the split.

    Raises:
      ConfigError: shares that leave nobody.
    """

    name: str = "recruitment-world"
    world: WorldOptions = WorldOptions(people=4000, jobs=1500, applications=12, interviews=0.0)
    sections: tuple[str, ...] = ("profile", "experience", "projects", "objective")
    facts: bool = False
    skills: str = ""
    occupations: str = ""
    generator: Share = 0.35
    reward: Share = 0.3
    gold: Share = 0.2
    prompts: Share = 0.06
    job_share: Share = 0.4
    cold: Share = 0.3
    early: Share = 0.6
    held_out: Share = 0.1
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject a split without a part that is needed."""
        check_ranges(self, "--data.")
        shares = {name: getattr(self, name) for name in ("generator", "reward", "gold", "prompts")}
        if not all(shares.values()) or sum(shares.values()) >= 1 - 1e-9:
            given = ", ".join(f"--data.{name} {share:g}" for name, share in shares.items())
            raise ConfigError(
                f"{given} must be above 0 and leave people for the recommendation; lower them"
            )
        for name in ("job_share", "cold", "early", "held_out"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(
                    f"--data.{name.replace('_', '-')} {getattr(self, name):g} must be in (0, 1), "
                    "so that both parts have members"
                )
        if not self.sections or not set(self.sections) <= set(SECTIONS):
            raise ConfigError(
                f"--data.sections {' '.join(self.sections)} must be some of {' '.join(SECTIONS)}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchConfig:
    """Predictors of a match from a resume, a job and generated descriptions.

    Attributes:
      encoder: directory of a sentence encoder; "" for the mean of the last states of the tuned
        generator.
      lsa: width of vectors by latent semantic analysis of the jobs, which then stand in place of an
        encoder; 0 for none.
      numbers: whether vectors also hold the years and the salary that a text names, see `blocks`.
      residual: whether predictors begin as weighted products of their vectors, see `predictors`.
      descriptions: m, number of descriptions that are generated for each person.
      hidden: width of the hidden layer.
      dropout: rate on the inputs and the hidden layer.
      epochs: passes over the training rows; the best one on validation is kept.
      batch_size: rows of a step.
      lr: learning rate of AdamW.
      weight_decay: of AdamW.
      seeds: number of trainings of each predictor, which differ in their initialization and order.
    """

    encoder: str = ""
    lsa: Whole = 0
    numbers: bool = False
    residual: bool = False
    descriptions: Count = 3
    hidden: Count = 64
    dropout: Rate = 0.3
    epochs: Count = 30
    batch_size: Count = 64
    lr: LearningRate = 1e-3
    weight_decay: NotNegative = 1e-2
    seeds: Count = 5

    def __post_init__(self) -> None:
        """Reject numbers out of range, and two encoders."""
        check_ranges(self, "--match.")
        if self.lsa and self.encoder:
            raise ConfigError(
                f"--match.lsa {self.lsa} and --match.encoder {self.encoder} are two encoders; set "
                "one of them"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroundingConfig:
    """How a generated description leads to real jobs.

    Attributes:
      similarity: κ, weight of the similarity between a generated description and a job beside the
        reward of the job for the resume; both are standardized over the jobs.
      descriptions: number of descriptions that are generated for a request.
      skills: number of skills that are read of a resume from elsewhere, the first ones.
      occupations: O*NET's "Occupation Data.txt", looked up below JAXREC_DATA too, whose occupations
        resumes from elsewhere are grounded to; "" for the jobs of the run.
    """

    similarity: NotNegative = 1.0
    descriptions: Count = 4
    skills: Count = 8
    occupations: str = ""

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--grounding.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GirlEvalConfig:
    """How a run is measured.

    Attributes:
      valid_prompts: people of each validation of the policy.
      valid_texts: texts or pairs of each validation of the generator and the reward models.
      batch_size: texts in each call of a model.
      resamples: number of resamples of the bootstrap over people.
      grounded_people: people for whom jobs are ranked.
      grounded_jobs: jobs of the recommendation that are ranked for each of them.
    """

    valid_prompts: Count = 64
    valid_texts: Count = 256
    batch_size: Count = 64
    resamples: Count = 1000
    grounded_people: Count = 12
    grounded_jobs: Count = 200

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--eval.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GirlConfig:
    """A run of GIRL.

    Attributes:
      data: people, jobs and their split.
      template: what the generator reads; {resume} is the resume.
      base: a run or a model with a tokenizer that the generator starts from; "" starts from scratch
        with `model`'s shape.
      model: shape of a generator from scratch.
      vocab_size: size of the tokenizer of a generator from scratch.
      skill_tokens: whether a tokenizer from scratch has one token for each skill that jobs name
        beside its `vocab_size`, so that the generator copies a skill in one step.
      max_prompt: most tokens of a prompt; longer ones lose tokens of the resume's beginning.
      sft: training of the generator on the jobs that people matched with.
      reward: training of the reward model, which starts from the tuned generator; a reward of
        facts needs none.
      gold_reward: training of the second reward model, which starts there too.
      reward_head: whether the reward is the scalar of the "last" token, as in the paper, or the
        "sum" over all n tokens, divided by √n, which a small model learns from fewer pairs; or
        whether it compares the "facts" that resume and description name, see `fact_reward`, which
        needs no training of a network.
      critic: whether the value network starts as the "reward" model, or is a head on the states of
        the policy ("shared"), which costs half as much.
      ppo: settings of PPO.
      train: optimizer of PPO. A step is one minibatch; `batch_size` is its number of episodes.
      patience: number of validations since the best gold reward after which PPO stops.
      match: predictors of a match.
      grounding: from a generated description to real jobs.
      eval: measurements.

    Raises:
      ConfigError: settings that contradict one another.

    Example:
      >>> GirlConfig(ppo=PpoSettings(minibatches=2)).episodes
      64
    """

    system: ClassVar[str] = "jaxrec.systems.girl"

    data: GirlDataConfig = GirlDataConfig()
    template: str = "{resume}\nSuitable job:\n"
    base: str = ""
    model: TransformerConfig = TransformerConfig(width=128, depth=3, num_heads=4)
    vocab_size: Count = 2000
    skill_tokens: bool = False
    max_prompt: Count = 112
    sft: TrainConfig = TrainConfig(
        steps=800, batch_size=32, lr=3e-3, warmup_steps=50, weight_decay=0.01, eval_every=200
    )
    reward: TrainConfig = _REWARD
    gold_reward: TrainConfig = _REWARD
    reward_head: Literal["last", "sum", "facts"] = "last"
    critic: Literal["reward", "shared"] = "reward"
    ppo: PpoSettings = PpoSettings(
        response=96,
        temperature=1.0,
        minibatches=2,
        epochs=2,
        beta=0.05,
        kl_budget=15.0,
        unended_penalty=1.0,
    )
    train: TrainConfig = TrainConfig(
        steps=160,
        batch_size=32,
        lr=1e-4,
        warmup_steps=0,
        schedule="linear",
        weight_decay=0.0,
        beta2=0.999,
        eps=1e-5,
        eval_every=20,
        log_every=4,
        max_loss_ratio=0.0,
    )
    patience: Count = 2
    match: MatchConfig = MatchConfig()
    grounding: GroundingConfig = GroundingConfig()
    eval: GirlEvalConfig = GirlEvalConfig()

    def __post_init__(self) -> None:
        """Reject settings that would be ignored or that nothing can be learned with."""
        check_ranges(self, "--")
        if self.template.count("{resume}") != 1:
            raise ConfigError(
                f"template {self.template!r:.60} must contain {{resume}} once, where the resume "
                "stands"
            )
        if self.reward_head == "facts" and self.critic == "reward":
            raise ConfigError(
                "--reward-head facts has no network that --critic reward could begin as; set "
                "--critic shared"
            )
        if self.ppo.pretraining_weight:
            raise ConfigError(
                f"ppo.pretraining_weight {self.ppo.pretraining_weight:g} needs pre-training text, "
                "which GIRL does not have; set it to 0"
            )
        if self.train.ema_decay:
            raise ConfigError(
                f"train.ema_decay {self.train.ema_decay:g} would measure another policy than the "
                "one that writes; set it to 0"
            )
        model = self.model
        if model.dropout or model.attention_dropout or model.mlp_dropout:
            raise ConfigError(
                "--model.dropout, --model.attention-dropout and --model.mlp-dropout have no "
                "effect, because a policy reads without dropout; set them to 0"
            )
        if not self.base:
            self.model.check_length(
                self.longest, "--max-prompt with --ppo.response", "raise --model.max-length"
            )

    @property
    def longest(self) -> int:
        """Most tokens of a prompt with a description and the token that ends it."""
        return self.max_prompt + self.ppo.response + 1

    @property
    def episodes(self) -> int:
        """Number of episodes of a rollout."""
        return self.train.batch_size * self.ppo.minibatches
