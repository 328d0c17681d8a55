"""Instruction tuning of a language model: task data sets, chats and synthetic instructions."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.instruct.config import (
        InstructConfig as InstructConfig,
        InstructDataConfig as InstructDataConfig,
        InstructEvalConfig as InstructEvalConfig,
        WritingConfig as WritingConfig,
    )
    from jaxrec.systems.instruct.data import Prepared as Prepared, prepare as prepare
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
