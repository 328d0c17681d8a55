"""The trainings of a run: generator, reward model, gold reward model and PPO.

(Zheng et al., arXiv:2307.02157.) With C a resume, J a description and |J| its tokens:

    generator   -1/|J| Σ_i log P(v_i | v_<i, C)
    rewards     -log σ(U(C, J+) - U(C, J-))
    policy      PPO on U(C, J') - β KL, token by token
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.align import (
    POLICY,
    Actor,
    RewardModel,
    Rollouts,
    normalization,
    over_optimized,
    pairwise_loss,
    reward_of,
    score_rows,
)
from jaxrec.core import is_writer, to_json, write_text
from jaxrec.data import epoch_batches
from jaxrec.models import CausalLM, ScalarHead
from jaxrec.objectives import Loss
from jaxrec.runs import Options
from jaxrec.systems.girl.data import GirlData
from jaxrec.systems.girl.fact_reward import fit_fact_reward
from jaxrec.systems.girl.models import GOLD, REWARD, SCALES, SFT, Models, Scale
from jaxrec.texts import scores_of
from jaxrec.train import FitResult, Plan, Start, Validation, fit

# The rewards and the pairs that they learn from.
REWARD_PARTS = ((REWARD, "train"), (GOLD, "gold"))
LIKELIHOOD, ACCURACY, POLICY_METRIC = "log_likelihood", "accuracy", "gold"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Stages:
    """The stages of a run with their data as tokens.

    Attributes:
      models: the models of the run.
      data: what they learn from.
      targets: descriptions to learn, and some for validation.
      pairs: pairs of the rewards, by part.
      prompts: tokens and validity `[N, P]`, of training and validation.
    """

    models: Models
    data: GirlData
    targets: Mapping[str, Any]
    pairs: Mapping[str, Mapping[str, np.ndarray]]
    prompts: Mapping[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, models: Models, data: GirlData) -> "Stages":
        """Encode the data of all stages, so that nothing is wrong with them later."""
        config = models.config
        most = config.eval.valid_texts
        people = dict(data.prompts)
        people["valid"] = people["valid"][: config.eval.valid_prompts]
        prompts = {
            name: models.writer.prompts([data.resumes[n] for n in group.tolist()])
            for name, group in people.items()
        }
        return cls(
            models=models,
            data=data,
            targets={
                "train": models.targets(data, "train"),
                "valid": models.targets(data, "valid", most),
            },
            pairs={
                name: models.pairs(data, data.pairs[name][:size])
                for name, size in (("train", None), ("valid", most), ("gold", None))
                # Rewards of facts read texts.
                if config.reward_head != "facts"
            },
            prompts=prompts,
        )

    def plans(self) -> dict[str, Plan]:
        """Plan all stages; nothing is computed."""
        models, config = self.models, self.models.config
        example = _taken(self.targets["train"], np.zeros(config.sft.batch_size, int))
        loss = _target_loss(models.text.model)
        plans = {SFT: models.text.plan(loss, example, config.sft)}
        for name, part in () if self.facts else REWARD_PARTS:
            scored, training = models.scored, models.training(name)
            rows = _taken(self.pairs[part], np.zeros(training.batch_size, int))
            plans[name] = scored.plan(_pair_loss(scored.head), rows, training)
        policy = models.policy
        plans["ppo"] = policy.plan(policy.batch(self.prompts["train"][0].shape[1]))
        return plans

    def train(self, plans: Mapping[str, Plan], options: Options) -> FitResult:
        """Train or resume all stages one after the other.

        Returns:
          The result of PPO, with the seconds of all stages that train a network.
        """
        seconds = self._generator(plans[SFT], options).seconds
        if self.facts:
            self._fact_rewards()
        else:
            scales: dict[str, Scale] = {}
            for name, part in REWARD_PARTS:
                scales[name], own = self._reward(name, part, plans[name], options)
                seconds += own
            if is_writer():
                write_text(self.models.directory / SCALES, to_json(scales))
        result = self._policy(plans["ppo"], options)
        return dataclasses.replace(result, seconds=result.seconds + seconds)

    @property
    def facts(self) -> bool:
        """Whether rewards compare facts and have no network."""
        return self.models.config.reward_head == "facts"

    def _fact_rewards(self) -> None:
        """Fit the rewards of facts, which takes seconds, unless that is done."""
        data = self.data
        for name, part in REWARD_PARTS:
            path = self.models.facts_path(name)
            if is_writer() and not path.exists():
                pairs = np.array(
                    [(pair.person, pair.better, pair.worse) for pair in data.pairs[part]]
                )
                fit_fact_reward(data.skills, data.jobs, data.resumes, pairs).save(path)

    def _generator(self, plan: Plan, options: Options) -> FitResult:
        models, config = self.models, self.models.config
        held, loss = self.targets["valid"], jax.jit(_target_loss(models.text.model))

        def evaluate(params: Any) -> dict[str, float]:
            found = loss(params, held, None)
            return {LIKELIHOOD: -float(found.total / found.weight)}

        batches = epoch_batches(
            len(self.targets["train"]["tokens"]),
            functools.partial(_taken, self.targets["train"]),
            batch_size=config.sft.batch_size,
            seed=config.sft.seed,
        )
        return fit(
            plan,
            iter(batches),
            Validation(evaluate, LIKELIHOOD),
            models.directory / SFT,
            start=Start(params=models.text.start, base=models.text.base, run=models.owner),
            title=SFT,
            profile=options.profile,
        )

    def _reward(self, name: str, part: str, plan: Plan, options: Options) -> tuple[Scale, float]:
        """Train a reward model; return its normalization over its jobs, and the seconds taken."""
        models, config = self.models, self.models.config
        pairs, valid = self.pairs[part], self.pairs["valid"]
        # The two models differ in their people, their order and their head.
        training = models.training(name)
        seed = 2 * training.seed + (name == GOLD)
        score = jax.jit(functools.partial(reward_of, models.scored.head))

        def evaluate(params: Any) -> dict[str, float]:
            rewards = _rewards(score, params, valid, config.eval.batch_size)
            hits = (np.sign(rewards[:, 0] - rewards[:, 1]) + 1) / 2
            return {ACCURACY: float(hits.mean())}

        stream = epoch_batches(
            len(pairs["tokens"]),
            functools.partial(_taken, pairs),
            batch_size=training.batch_size,
            seed=seed,
        )
        result = fit(
            plan,
            iter(stream),
            Validation(evaluate, ACCURACY),
            models.directory / name,
            start=Start(
                params=models.scored.begin(seed, models.generator),
                base=models.text.base,
                run=models.owner,
            ),
            title=name,
            profile=options.profile,
        )
        some = _taken(pairs, np.arange(min(len(pairs["tokens"]), config.eval.valid_texts)))
        rewards = _rewards(score, result.params, some, config.eval.batch_size)
        gain, bias = normalization(rewards.ravel())
        return {"gain": gain, "bias": bias}, result.seconds

    def _policy(self, plan: Plan, options: Options) -> FitResult:
        models, config = self.models, self.models.config
        policy = models.policy
        reference = policy.reference(models.generator, plan)
        reward, gold = models.reward(REWARD), models.reward(GOLD)
        tasks = {
            name: models.task(prompts, reference, reward) for name, prompts in self.prompts.items()
        }
        rollouts = Rollouts(
            tasks["train"], batch_size=config.train.batch_size, seed=config.train.seed
        )

        def evaluate(variables: Any) -> dict[str, float]:
            key = jax.random.key(config.train.seed)
            measured = tasks["valid"].measure(variables, key, gold)
            return {name: float(values.mean()) for name, values in measured.items()}

        def begin() -> Any:
            model = models.reward_model() if config.critic == "reward" else None
            critic = model.params if isinstance(model, RewardModel) else None
            return policy.begin(models.generator, critic)

        stop = functools.partial(
            over_optimized, kl_budget=config.ppo.kl_budget, patience=config.patience
        )
        return fit(
            plan,
            rollouts,
            Validation(evaluate, POLICY_METRIC),
            models.directory,
            start=Start(params=begin, base=models.text.base, run=models.owner),
            title="ppo",
            profile=options.profile,
            stop=stop,
        )


def _taken(pairs: Mapping[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    return {name: cells[chosen] for name, cells in pairs.items()}


def _target_loss(model: CausalLM) -> Callable[[Any, Any, Any], Loss]:
    """The loss of descriptions: a function of variables, a batch of `Writer.targets` and a key.

    Logits are computed of the descriptions alone, as in PPO, and there is no dropout.
    """
    actor = Actor(model=model)

    def loss(params: Any, batch: Mapping[str, jax.Array], key: jax.Array | None) -> Loss:
        del key
        weights = batch["weights"]
        size = weights.shape[1]
        read = actor.read({POLICY: params}, batch["tokens"], batch["valid"], size, values=False)
        return Loss(-(weights * read.logprobs).sum(), weights.sum(), {})

    return loss


def _pair_loss(head: ScalarHead) -> Callable[[Any, Any, Any], Loss]:
    """The loss of pairs: a function of variables, a batch of `[B, 2, T]` and a dropout key."""

    def loss(params: Any, batch: Mapping[str, jax.Array], key: jax.Array | None) -> Loss:
        rewards = scores_of(head, params, batch["tokens"], batch["valid"], key)
        wins = jnp.broadcast_to(jnp.array([[0.0, 1.0], [0.0, 0.0]]), (len(rewards), 2, 2))
        right = (rewards[:, 0] > rewards[:, 1]).astype(jnp.float32)
        weight = jnp.float32(len(rewards))
        return Loss(pairwise_loss(rewards, wins).sum(), weight, {ACCURACY: right.sum()})

    return loss


def _rewards(
    score: Any, params: Any, pairs: Mapping[str, np.ndarray], batch_size: int
) -> np.ndarray:
    """Rewards of the better and the worse job of each pair: `[N, 2]`."""
    tokens, valid = (pairs[name].reshape(-1, pairs[name].shape[2]) for name in ("tokens", "valid"))
    return score_rows(score, params, tokens, valid, batch_size).reshape(-1, 2)
