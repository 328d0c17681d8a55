"""SASRec as a system of its own."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.sasrec.config import SasrecRunConfig as SasrecRunConfig
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
