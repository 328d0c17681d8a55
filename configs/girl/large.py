"""GIRL on a larger world of ESCO's skills and O*NET's occupations, for a GPU.

    jaxrec train girl/large --dry-run
    jaxrec train girl/large
    jaxrec recommend runs/girl-large --resume resume.txt

The settings are those of `girl/claims` with a generator of 29 million parameters, three times as
many people, a value network that starts as the reward model, and longer trainings. The skills are
read from `esco-skills` and the occupations from `onet-occupations` below JAXREC_DATA.

Cost: about 40 PFLOP, by 6 times the parameters times the tokens of all stages, of which PPO takes
15. `--dry-run` makes the world and plans every stage, and prints the products and the memory of a
step. Nothing of it has been measured.
"""

from jaxrec.align import PpoSettings
from jaxrec.data.recruitment import WorldOptions
from jaxrec.models import TransformerConfig
from jaxrec.runs import make_quick
from jaxrec.systems.girl import GirlConfig, GirlDataConfig, GirlEvalConfig, GroundingConfig
from jaxrec.train import TrainConfig

_OCCUPATIONS = "onet-occupations/Occupation Data.txt"


def get_config() -> GirlConfig:
    return _config(WorldOptions(people=30_000, jobs=10_000, applications=12, interviews=0.0))


def get_quick_config() -> GirlConfig:
    return make_quick(_config(WorldOptions(people=1500, jobs=600, applications=12, interviews=0.0)))


def _config(world: WorldOptions) -> GirlConfig:
    return GirlConfig(
        data=GirlDataConfig(
            world=world,
            skills="esco-skills/skills_en_label.txt.gz",
            occupations=_OCCUPATIONS,
            generator=0.35,
            reward=0.3,
            gold=0.2,
            prompts=0.06,
        ),
        model=TransformerConfig(width=512, depth=6, num_heads=8),
        vocab_size=8000,
        max_prompt=192,
        sft=TrainConfig(
            steps=4000, batch_size=64, lr=1e-3, warmup_steps=200, weight_decay=0.01, eval_every=500
        ),
        reward=TrainConfig(
            steps=800,
            batch_size=64,
            lr=2e-4,
            warmup_steps=50,
            schedule="linear",
            weight_decay=0.01,
            eval_every=200,
        ),
        gold_reward=TrainConfig(
            steps=800,
            batch_size=64,
            lr=2e-4,
            warmup_steps=50,
            schedule="linear",
            weight_decay=0.01,
            eval_every=200,
        ),
        reward_head="sum",
        critic="reward",
        ppo=PpoSettings(
            response=160,
            temperature=1.0,
            minibatches=4,
            epochs=2,
            beta=0.05,
            kl_budget=15.0,
            unended_penalty=1.0,
        ),
        train=TrainConfig(
            steps=1600,
            batch_size=64,
            lr=5e-5,
            warmup_steps=0,
            schedule="linear",
            weight_decay=0.0,
            beta2=0.999,
            eps=1e-5,
            eval_every=80,
            log_every=8,
            max_loss_ratio=0.0,
        ),
        grounding=GroundingConfig(occupations=_OCCUPATIONS),
        eval=GirlEvalConfig(valid_prompts=128, grounded_people=100, grounded_jobs=500),
    )
