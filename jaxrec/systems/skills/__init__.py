"""Skill extraction: a tagger over a text encoder, with a CRF, from gold or from distant labels."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.skills.config import (
        DistantConfig as DistantConfig,
        SkillDataConfig as SkillDataConfig,
        SkillLossConfig as SkillLossConfig,
        SkillsConfig as SkillsConfig,
        SkillsEvalConfig as SkillsEvalConfig,
        StudentConfig as StudentConfig,
        TaggerConfig as TaggerConfig,
    )
    from jaxrec.systems.skills.tagging import TaggedSpan as TaggedSpan
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
