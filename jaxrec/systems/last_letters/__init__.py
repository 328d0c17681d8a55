"""Last letters: a small language model that learns a task with its reasoning, or without."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.last_letters.config import (
        LettersConfig as LettersConfig,
        LettersDataConfig as LettersDataConfig,
        LettersEvalConfig as LettersEvalConfig,
    )
    from jaxrec.systems.last_letters.questions import (
        Letters as Letters,
        last_letters as last_letters,
        make_name as make_name,
        prepare as prepare,
        read_names as read_names,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
