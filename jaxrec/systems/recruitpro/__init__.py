"""RecruitPro: one encoder of recruitment texts, adapted to many tasks by skill-aware prompts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.recruitpro.config import (
        OFF as OFF,
        AuxiliaryConfig as AuxiliaryConfig,
        EncoderConfig as EncoderConfig,
        InputConfig as InputConfig,
        RecruitEvalConfig as RecruitEvalConfig,
        RecruitProConfig as RecruitProConfig,
    )
    from jaxrec.systems.recruitpro.data import RecruitmentConfig as RecruitmentConfig
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
