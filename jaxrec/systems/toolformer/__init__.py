"""Toolformer: a small language model teaches itself when to call a calculator."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.toolformer.config import (
        CallsConfig as CallsConfig,
        ToolformerConfig as ToolformerConfig,
        ToolformerDataConfig as ToolformerDataConfig,
        ToolformerEvalConfig as ToolformerEvalConfig,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
