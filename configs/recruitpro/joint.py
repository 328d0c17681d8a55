"""RecruitPro on a made-up world of recruitment: an encoder from scratch, and thirteen tasks.

    jaxrec train recruitpro/joint
    jaxrec eval runs/recruitpro-joint

The stage `pretrain` learns masked tokens and next sentences from the texts of 12,000 jobs and 6,000
people of the same world, none of which is in the task tables. `--tasks.names salary` trains a task
alone. For your own records, which four files hold, give `--data.name mine --data.jobs jobs.jsonl
--data.people people.jsonl --data.interviews interviews.jsonl --data.matches matches.jsonl`, and
pre-train on your own texts.

`recruitpro/claims` measures the same settings, which are far from enough training for this world.
Cost: about 7 CPU minutes.
"""

from jaxrec.data.recruitment import WorldOptions
from jaxrec.systems.pretrain import ObjectiveConfig, PretrainConfig, PretrainDataConfig, flavour
from jaxrec.systems.recruitpro import (
    AuxiliaryConfig,
    EncoderConfig,
    InputConfig,
    RecruitEvalConfig,
    RecruitProConfig,
)
from jaxrec.train import TrainConfig


def get_stages() -> dict[str, PretrainConfig]:
    return {
        "pretrain": PretrainConfig(
            data=PretrainDataConfig(
                name="recruitment-world", world=WorldOptions(jobs=12000, people=6000)
            ),
            vocab_size=1280,
            objective=ObjectiveConfig(name="mlm_nsp"),
            backbone="encoder",
            length=112,
            model=flavour("encoder", width=64, depth=2, num_heads=4, mlp_width=256, max_length=120),
            train=TrainConfig(steps=1500, batch_size=24, lr=4e-3, eval_every=1500),
        )
    }


def get_config() -> RecruitProConfig:
    return RecruitProConfig(
        encoder=EncoderConfig(base="stage:pretrain"),
        input=InputConfig(text_tokens=96, chunk_tokens=56),
        auxiliary=AuxiliaryConfig(similarity=0.1, comparison=0.5, detach=True),
        train=TrainConfig(
            steps=700,
            batch_size=32,
            lr=1e-3,
            warmup_steps=70,
            schedule="linear",
            weight_decay=0.01,
            eval_every=700,
        ),
        eval=RecruitEvalConfig(valid_rows=40),
    )
