"""GIRL's claims (Zheng et al., arXiv:2307.02157) on a planted world of recruitment.

    jaxrec sweep girl/claims --seeds 1

PLACEHOLDER
"""

from jaxrec.align import PpoSettings
from jaxrec.data.recruitment import WorldOptions
from jaxrec.models import TransformerConfig
from jaxrec.runs import Sweep, make_quick
from jaxrec.systems.girl import (
    GirlConfig,
    GirlDataConfig,
    GirlEvalConfig,
    GroundingConfig,
    MatchConfig,
)
from jaxrec.train import TrainConfig


def get_config() -> GirlConfig:
    return _config(people=10_000)


def get_quick_config() -> GirlConfig:
    return make_quick(_config(people=1000))


def _config(people: int) -> GirlConfig:
    return GirlConfig(
        data=GirlDataConfig(
            world=WorldOptions(
                people=people, jobs=2000, applications=12, interviews=0.0, near=0.2, far=0.1
            ),
            generator=0.35,
            reward=0.3,
            gold=0.2,
            prompts=0.06,
        ),
        model=TransformerConfig(width=96, depth=2, num_heads=4, mlp_width=256),
        vocab_size=2000,
        max_prompt=112,
        sft=TrainConfig(
            steps=450,
            batch_size=32,
            lr=5e-3,
            warmup_steps=40,
            weight_decay=0.01,
            eval_every=100,
            log_every=20,
        ),
        reward=TrainConfig(
            steps=200,
            batch_size=32,
            lr=2e-3,
            warmup_steps=20,
            final_fraction=0.1,
            weight_decay=0.01,
            eval_every=40,
            log_every=10,
        ),
        gold_reward=TrainConfig(
            steps=100,
            batch_size=32,
            lr=2e-3,
            warmup_steps=20,
            final_fraction=0.1,
            weight_decay=0.01,
            eval_every=50,
            log_every=10,
        ),
        reward_head="sum",
        critic="shared",
        ppo=PpoSettings(
            response=88,
            temperature=1.0,
            minibatches=2,
            epochs=2,
            beta=0.05,
            kl_budget=15.0,
            unended_penalty=1.0,
        ),
        train=TrainConfig(
            steps=50,
            batch_size=32,
            lr=4e-4,
            warmup_steps=0,
            schedule="linear",
            final_fraction=0.51,
            weight_decay=0.0,
            beta2=0.999,
            eps=1e-5,
            eval_every=25,
            log_every=4,
            max_loss_ratio=0.0,
        ),
        match=MatchConfig(descriptions=1, seeds=5),
        grounding=GroundingConfig(occupations="onet-occupations/Occupation Data.txt"),
        eval=GirlEvalConfig(grounded_people=6, grounded_jobs=100),
    )


def get_sweep() -> Sweep:
    return Sweep(variants={"girl": get_config()}, metrics=("utility",), all_rows=True)


def get_quick_sweep() -> Sweep:
    return Sweep(variants={"girl": get_quick_config()}, metrics=("utility",), all_rows=True)
