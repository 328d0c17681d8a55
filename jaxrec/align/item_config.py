"""Settings of the alignment of a recommender with preferences or rewards."""

import dataclasses
from typing import Literal

from jaxrec.align.item_rollout import GroupOptions, Sampler
from jaxrec.align.negatives import Negatives
from jaxrec.core import ConfigError, Count, NotNegative, Positive, Whole, check_ranges

AlignMethod = Literal["none", "dpo", "sdpo", "grpo", "dr_grpo"]
PREFERENCES = ("dpo", "sdpo")
GROUPS = ("grpo", "dr_grpo")
# Settings that only some methods read.
_READ = {
    "beta": PREFERENCES,
    "negatives": PREFERENCES,
    "negatives_from": PREFERENCES,
    **dict.fromkeys(
        ("group", "sampler", "redraws", "rewards", "kl", "clip", "epochs", "minibatches"), GROUPS
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """Weights of the rewards of a recommended item, which are added up; 0 leaves one out.

    Attributes:
      hit: 1 for the item that the user took next.
      rank: reward for the rank of that item, and punishment of the items above it.
      listwise: what an item adds to the NDCG of its list.
      similarity: cosine of the item's text vector with the one of the item that was taken.
      recommender: score of another recommender, from 0 to 1 within a group.
      diversity: penalty for sharing the first codes of an ID with other items of the list.
      popularity: penalty for popularity.
      scored_by: the recommender that `recommender` asks.

    Raises:
      ConfigError: a weight out of range, or no reward at all.

    Example:
      >>> RewardConfig(hit=0.0, rank=1.0).weights
      {'rank': 1.0}
    """

    hit: NotNegative = 1.0
    rank: NotNegative = 0.0
    listwise: NotNegative = 0.0
    similarity: NotNegative = 0.0
    recommender: NotNegative = 0.0
    diversity: NotNegative = 0.0
    popularity: NotNegative = 0.0
    scored_by: Literal["cooccurrence", "markov"] = "cooccurrence"

    def __post_init__(self) -> None:
        check_ranges(self, "--align.rewards.")
        if not self.weights:
            raise ConfigError("align.rewards: all weights are 0; give at least one reward a weight")
        if self.scored_by != "cooccurrence" and not self.recommender:
            raise ConfigError(
                f"align.rewards.scored_by {self.scored_by} is not read without a weight of "
                "align.rewards.recommender; set both or neither"
            )

    @property
    def weights(self) -> dict[str, float]:
        """The weights that are not 0, by the name of the reward."""
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in named.items() if name != "scored_by" and value}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """How a trained recommender is aligned; each method reads its own settings.

    Attributes:
      method: "none" trains on histories. "dpo" and "sdpo" prefer the next item of a history to
        negatives. "grpo" and "dr_grpo" optimize rewards of recommended items.
      beta: of "dpo" and "sdpo": strength of the implicit KL penalty.
      negatives: rejected items of each history.
      negatives_from: "uniform" or by "popularity" from the catalogue, or from the "beams" of the
        model that training starts from.
      group: items that are recommended to each history and compared with one another.
      sampler: "beams" takes the best items of a search; "stochastic" draws them without
        replacement.
      redraws: how often groups without the next item are drawn anew; only for "stochastic".
      rewards: what is rewarded.
      kl: weight of the KL divergence from the model that training starts from.
      clip: how far the ratio of probabilities may move in the updates on one rollout.
      epochs: how often each rollout is learned from.
      minibatches: updates in an epoch; a rollout has `train.batch_size` histories for each.

    Raises:
      ConfigError: a value out of range, or a setting that the method does not read.

    Example:
      >>> AlignConfig(method="grpo", group=16).options.scaled
      True
      >>> AlignConfig(method="dpo", group=16)
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: align.group is not read by align.method dpo; leave it out, ...
    """

    method: AlignMethod = "none"
    beta: Positive = 1.0
    negatives: Count = 3
    negatives_from: Negatives = "beams"
    group: Count = 8
    sampler: Sampler = "beams"
    redraws: Whole = 0
    rewards: RewardConfig = RewardConfig()
    kl: NotNegative = 0.001
    clip: Positive = 0.2
    epochs: Count = 1
    minibatches: Count = 1

    def __post_init__(self) -> None:
        check_ranges(self, "--align.")
        for field in dataclasses.fields(self):
            value, readers = getattr(self, field.name), _READ.get(field.name, (self.method,))
            if value != field.default and self.method not in readers:
                raise ConfigError(
                    f"align.{field.name} is not read by align.method {self.method}; leave it out, "
                    f"or set align.method {' or '.join(readers)}"
                )
        if self.by_groups:
            _ = self.options

    @property
    def by_groups(self) -> bool:
        """Whether the policy makes groups of items, which are rewarded."""
        return self.method in GROUPS

    @property
    def updates(self) -> int:
        """Updates on each rollout."""
        return self.epochs * self.minibatches

    @property
    def options(self) -> GroupOptions:
        """How the groups are made."""
        return GroupOptions(
            group=self.group,
            sampler=self.sampler,
            redraws=self.redraws,
            scaled=self.method == "grpo",
            keep_log_probs=self.updates > 1,
        )
