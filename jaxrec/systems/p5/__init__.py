"""P5 and OpenP5: recommendation as language processing, all tasks as text by one model."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.p5.config import P5Config as P5Config, of_indexes as of_indexes
    from jaxrec.systems.p5.tasks import TASKS as TASKS
    from jaxrec.systems.p5.tested import Tested as Tested, recommend_items as recommend_items
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
