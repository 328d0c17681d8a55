"""DPO on text: a language model learns from preferred and rejected answers, without a reward."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.dpo.config import (
        DpoConfig as DpoConfig,
        DpoEvalConfig as DpoEvalConfig,
        PreferenceConfig as PreferenceConfig,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
