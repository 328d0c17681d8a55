"""RecruitPro with an encoder of 14 M parameters on a large made-up world, for a GPU.

    jaxrec train recruitpro/large --dry-run
    jaxrec train recruitpro/large
    jaxrec eval runs/recruitpro-large

The same stages as `recruitpro/joint`: pre-training on the texts of 40,000 jobs and 20,000 people,
and thirteen tasks of 20,000 jobs and 10,000 people.

NOT RUN YET, and `--dry-run` of these very settings was not run either. It plans the stage
`pretrain` alone: what the tasks take is known when their encoder is trained. The costs here are by
plans of the same shapes with a vocabulary of 2,500 tokens: 2.5 TFLOP for each of 20,000 steps of
pre-training, and 1.3 to 2.0 for each of 13,000 steps of the tasks; 75 PFLOP together, which a GPU
that sustains 150 TFLOP/s computes in 8 minutes. The vocabulary of 8,192 tokens adds about 0.1 TFLOP
to each step of pre-training.
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
                name="recruitment-world", world=WorldOptions(jobs=40000, people=20000)
            ),
            vocab_size=8192,
            objective=ObjectiveConfig(name="mlm_nsp"),
            backbone="encoder",
            length=144,
            model=flavour(
                "encoder",
                width=384,
                depth=6,
                num_heads=6,
                mlp_width=1536,
                max_length=160,
                dropout=0.1,
                dtype="bfloat16",
            ),
            train=TrainConfig(steps=20000, batch_size=256, lr=1e-3, eval_every=2000),
        )
    }


def get_config() -> RecruitProConfig:
    return RecruitProConfig(
        world=WorldOptions(jobs=20000, people=10000),
        encoder=EncoderConfig(base="stage:pretrain"),
        input=InputConfig(text_tokens=136, skill_tokens=40, chunk_tokens=72),
        auxiliary=AuxiliaryConfig(similarity=0.1, comparison=0.5, detach=True),
        pairs=64,
        train=TrainConfig(
            steps=13000,
            batch_size=128,
            lr=2e-4,
            warmup_steps=1300,
            schedule="linear",
            weight_decay=0.01,
            eval_every=1300,
        ),
        eval=RecruitEvalConfig(batch_size=256, valid_rows=1000),
    )
