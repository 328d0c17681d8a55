"""Capacity: what a language model can do, task by task."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
