"""RecruitPro against its baselines and its ablations, on a made-up world of recruitment.

    jaxrec sweep recruitpro/claims --seeds 5

TO BE WRITTEN
"""

import dataclasses

from jaxrec.data.recruitment import TaskOptions, WorldOptions
from jaxrec.runs import Sweep
from jaxrec.systems.pretrain import (
    ObjectiveConfig,
    PretrainConfig,
    PretrainDataConfig,
    StartConfig,
    flavour,
)
from jaxrec.systems.recruitpro import (
    OFF,
    AuxiliaryConfig,
    EncoderConfig,
    InputConfig,
    RecruitEvalConfig,
    RecruitProConfig,
)
from jaxrec.train import TrainConfig

BASE = "runs/recruitpro-pretrain"
TASKS = (
    *("jd_3rd_class", "jd_2nd_class", "jd_1st_class"),
    *("resume_3rd_class", "resume_2nd_class", "resume_1st_class"),
    *("resume_understanding", "job_evaluation", "interview_result"),
)


def get_stages() -> dict[str, PretrainConfig]:
    start = PretrainConfig(
        data=PretrainDataConfig(
            name="recruitment-world", world=WorldOptions(jobs=12000, people=6000)
        ),
        vocab_size=2688,
        objective=ObjectiveConfig(
            name="mlm_nsp", rate=0.3, whole_words=True, phrases=True, salient=1.0, following=0.9
        ),
        backbone="encoder",
        length=96,
        model=flavour(
            "encoder",
            width=64,
            depth=2,
            num_heads=4,
            mlp_width=256,
            positions="rope",
            max_length=128,
        ),
        start=StartConfig(embeddings="cooccurrence"),
        train=TrainConfig(steps=500, batch_size=24, lr=1e-3, eval_every=500),
    )
    return {"pretrain": start}


def get_config() -> RecruitProConfig:
    return RecruitProConfig(
        world=WorldOptions(jobs=1200, people=800),
        tasks=TaskOptions(names=TASKS, test=0.35, rare="drop"),
        encoder=EncoderConfig(base="stage:pretrain"),
        input=InputConfig(text_tokens=96),
        auxiliary=AuxiliaryConfig(detach=True, center=True),
        train=TrainConfig(
            steps=540,
            batch_size=16,
            lr=1e-3,
            warmup_steps=54,
            schedule="linear",
            weight_decay=0.01,
            eval_every=540,
        ),
        eval=RecruitEvalConfig(valid_rows=40),
    )


def get_sweep() -> Sweep:
    full = dataclasses.replace(get_config(), encoder=EncoderConfig(base=BASE))
    auxiliary = full.auxiliary
    cls = dataclasses.replace(
        full, input=dataclasses.replace(full.input, form="cls"), auxiliary=OFF
    )
    return Sweep(
        variants={
            "finetuned": cls,
            "recruitpro": full,
            "p_tuning": dataclasses.replace(
                full, input=dataclasses.replace(full.input, form="prompt"), auxiliary=OFF
            ),
            "scratch": dataclasses.replace(
                cls, encoder=EncoderConfig(base=BASE, from_scratch=True)
            ),
            "no_ner": dataclasses.replace(
                full,
                auxiliary=dataclasses.replace(auxiliary, extractor="none", similarity=0.0),
            ),
            "no_sim": dataclasses.replace(
                full, auxiliary=dataclasses.replace(auxiliary, similarity=0.0)
            ),
            "no_com": dataclasses.replace(
                full, auxiliary=dataclasses.replace(auxiliary, comparison=0.0)
            ),
        },
        against="recruitpro",
        metrics=("accuracy",),
        pairs=(("finetuned", "scratch"),),
        starts={BASE: get_stages()["pretrain"]},
        fixed_starts=True,
    )
