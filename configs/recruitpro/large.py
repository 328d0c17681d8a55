"""RecruitPro with an encoder of 12 M parameters on a large made-up world, for a GPU.

    jaxrec train recruitpro/large --dry-run
    jaxrec train recruitpro/large
    jaxrec eval runs/recruitpro-large

The same stages as `recruitpro/claims`: pre-training on the texts of 40,000 jobs and 20,000 people,
and all thirteen tasks, of 20,000 jobs and 10,000 people.

NOT RUN YET. `--dry-run` plans the stage `pretrain` alone, because what the tasks take is known when
their encoder is trained. On 2026-11-30, in 28 CPU seconds, it printed:

    recruitment-world: 89,010 documents to train on (27,304,443 bytes), 5,236 for validation,
    10,472 for test (made up)
    2,688 tokens in the vocabulary; 5,688,760 tokens to train on, 4.80 bytes each
    1,132 of 2,688 tokens begin with vectors of their co-occurrence
    parameters: 12,041,858 of 12,041,858 trained (100.00 %)
    a step: 2,533 GFLOP in products; 5.4 GiB on each device

The made-up texts have few different words, so the vocabulary stays below the 8,192 tokens that are
asked for. A step of the tasks takes 1.3 to 2.0 TFLOP by plans of the same shapes with a vocabulary
of about this size. The 20,000 and 13,000 steps take 75 PFLOP together, which a GPU that sustains
150 TFLOP/s computes in 8 minutes.
"""

from jaxrec.data.recruitment import WorldOptions
from jaxrec.systems.pretrain import (
    ObjectiveConfig,
    PretrainConfig,
    PretrainDataConfig,
    StartConfig,
    flavour,
)
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
            start=StartConfig(embeddings="cooccurrence"),
            train=TrainConfig(steps=20000, batch_size=256, lr=1e-3, eval_every=2000),
        )
    }


def get_config() -> RecruitProConfig:
    return RecruitProConfig(
        world=WorldOptions(jobs=20000, people=10000),
        encoder=EncoderConfig(base="stage:pretrain"),
        input=InputConfig(text_tokens=136, skill_tokens=40, chunk_tokens=72),
        auxiliary=AuxiliaryConfig(similarity=0.1, comparison=0.5, detach=True, center=True),
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
