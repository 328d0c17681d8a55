"""RecruitPro against its baselines and ablations.

jaxrec sweep recruitpro/claims --seeds 5
"""

import dataclasses

from jaxrec.data.recruitment import WorldOptions
from jaxrec.runs import Sweep
from jaxrec.systems.pretrain import ObjectiveConfig, PretrainConfig, PretrainDataConfig, flavour
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


def get_start() -> PretrainConfig:
    return PretrainConfig(
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


def get_config() -> RecruitProConfig:
    return RecruitProConfig(
        encoder=EncoderConfig(base=BASE),
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


def get_sweep() -> Sweep:
    full = get_config()
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
                auxiliary=AuxiliaryConfig(
                    extractor="none", similarity=0.0, comparison=auxiliary.comparison
                ),
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
        starts={BASE: get_start()},
        fixed_starts=True,
    )
