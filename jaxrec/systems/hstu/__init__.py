"""HSTU as a system of its own."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.hstu.config import HstuRunConfig as HstuRunConfig
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
