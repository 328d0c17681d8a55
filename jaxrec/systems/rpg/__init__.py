"""RPG: long product-quantized IDs whose codes are predicted all at once."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.rpg.config import (
        CodesConfig as CodesConfig,
        GraphConfig as GraphConfig,
        NetworkConfig as NetworkConfig,
        RpgConfig as RpgConfig,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
