"""Pre-training: a language model of any backbone and objective, from the text of documents."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.pretrain.config import (
        ObjectiveConfig as ObjectiveConfig,
        PretrainConfig as PretrainConfig,
        PretrainDataConfig as PretrainDataConfig,
        PretrainEvalConfig as PretrainEvalConfig,
        StartConfig as StartConfig,
        flavour as flavour,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
