"""InstructRec: recommendation as following instructions about preference, intention and task."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.instructrec.config import (
        InstructRecConfig as InstructRecConfig,
        InstructRecEvalConfig as InstructRecEvalConfig,
    )
    from jaxrec.systems.instructrec.grammar import (
        CELLS as CELLS,
        COARSE as COARSE,
        Cell as Cell,
        Wording as Wording,
        wordings_of as wordings_of,
    )
    from jaxrec.systems.instructrec.reading import Reader as Reader, Reading as Reading
    from jaxrec.systems.instructrec.tasks import (
        TASKS as TASKS,
        InstructData as InstructData,
        with_wrong_wishes as with_wrong_wishes,
    )
    from jaxrec.systems.instructrec.wishes import Wishes as Wishes
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
