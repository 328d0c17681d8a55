"""Give the items of a data set their text vectors and IDs, as a config says.

For example:

    dataset = load_dataset(DataConfig(name="ml-100k"))
    codes = fit_ids(IdConfig(scheme="rq", levels=3), dataset)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.items import ids as ids, text as text
    from jaxrec.items.config import IdConfig as IdConfig
    from jaxrec.items.encoding import cache_file as cache_file
    from jaxrec.items.ids import fit_ids as fit_ids, item_rows as item_rows
    from jaxrec.items.text import encode as encode
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
