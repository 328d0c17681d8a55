"""InstructRec."""

from jaxrec.systems.instructrec import InstructRecConfig


def get_config() -> InstructRecConfig:
    return InstructRecConfig()
