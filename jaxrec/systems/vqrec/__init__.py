"""VQ-Rec: product-quantized texts as item vectors, which transfer between domains."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.vqrec import run as run
    from jaxrec.systems.vqrec.config import VqRecConfig as VqRecConfig
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
