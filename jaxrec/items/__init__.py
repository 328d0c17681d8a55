"""How a data set's items get vectors and IDs, by configuration."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.items import ids as ids, text as text
    from jaxrec.items.config import IdConfig as IdConfig
    from jaxrec.items.ids import item_rows as item_rows
    from jaxrec.items.text import encode as encode
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
