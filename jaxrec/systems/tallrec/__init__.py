"""TALLRec: a language model tuned to answer whether a user likes the next item."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.tallrec.config import (
        ClickEvalConfig as ClickEvalConfig,
        Search as Search,
        SearchConfig as SearchConfig,
        TallrecConfig as TallrecConfig,
    )
    from jaxrec.systems.tallrec.serving import like_probabilities as like_probabilities
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
