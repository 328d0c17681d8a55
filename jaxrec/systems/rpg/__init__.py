"""RPG: long product-quantized IDs whose codes are predicted all at once."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.rpg.config import (
        PUBLISHED_GRAPH as PUBLISHED_GRAPH,
        CodesConfig as CodesConfig,
        GraphConfig as GraphConfig,
        NetworkConfig as NetworkConfig,
        RpgConfig as RpgConfig,
    )
    from jaxrec.systems.rpg.network import (
        FIXED as FIXED,
        RpgNetwork as RpgNetwork,
        rpg_loss as rpg_loss,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
