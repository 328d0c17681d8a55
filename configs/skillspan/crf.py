"""Skills and knowledge in job advertisements: a CRF over MiniLM's upper layers, on SkillSpan.

jaxrec train skillspan/crf
"""

from jaxrec.systems.skills import SkillsConfig


def get_config() -> SkillsConfig:
    return SkillsConfig()
