"""GIRL: a language model writes a job description for a resume, and recommends jobs by it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.girl.config import (
        PAPER_TEMPLATE as PAPER_TEMPLATE,
        GirlConfig as GirlConfig,
        GirlDataConfig as GirlDataConfig,
        GirlEvalConfig as GirlEvalConfig,
        GroundingConfig as GroundingConfig,
        MatchConfig as MatchConfig,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
