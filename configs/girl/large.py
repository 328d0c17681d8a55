"""GIRL on a larger world of ESCO's skills and O*NET's occupations, for a GPU.

    jaxrec train girl/large --dry-run
    jaxrec train girl/large
    jaxrec recommend runs/girl-large --resume resume.txt

Unlike `girl/claims`, the generator reads whole resumes, and the rewards are networks that start
from it, as in the paper. It has 28 million parameters and three times as many people, and the value
network starts as the reward model. The skills are read from `esco-skills` and the occupations from
`onet-occupations` below JAXREC_DATA.

Cost: about 40 PFLOP, by 6 times the parameters times the tokens of all stages, of which PPO takes
15. `--dry-run` makes the world and plans every stage, and prints the products and the memory of a
step. Nothing of it has been measured.
"""

import dataclasses

from jaxrec.data.recruitment import WorldOptions
from jaxrec.models import TransformerConfig
from jaxrec.runs import make_quick
from jaxrec.systems.girl import GirlConfig, GirlDataConfig, GirlEvalConfig, GroundingConfig

_OCCUPATIONS = "onet-occupations/Occupation Data.txt"


def get_config() -> GirlConfig:
    return _config(people=30_000, jobs=10_000)


def get_quick_config() -> GirlConfig:
    return make_quick(_config(people=1500, jobs=600))


def _config(people: int, jobs: int) -> GirlConfig:
    usual = GirlConfig()
    reward = dataclasses.replace(
        usual.reward, steps=800, batch_size=64, lr=2e-4, warmup_steps=50, eval_every=200
    )
    return GirlConfig(
        data=GirlDataConfig(
            world=WorldOptions(people=people, jobs=jobs, applications=12, interviews=0.0),
            skills="esco-skills/skills_en_label.txt.gz",
            occupations=_OCCUPATIONS,
        ),
        model=TransformerConfig(width=512, depth=6, num_heads=8),
        vocab_size=8000,
        max_prompt=192,
        sft=dataclasses.replace(
            usual.sft, steps=4000, batch_size=64, lr=1e-3, warmup_steps=200, eval_every=500
        ),
        reward=reward,
        gold_reward=reward,
        reward_head="sum",
        ppo=dataclasses.replace(usual.ppo, response=160, minibatches=4),
        train=dataclasses.replace(
            usual.train, steps=1600, batch_size=64, lr=5e-5, eval_every=80, log_every=8
        ),
        grounding=GroundingConfig(occupations=_OCCUPATIONS),
        eval=GirlEvalConfig(valid_prompts=128, grounded_people=100, grounded_jobs=500),
    )
