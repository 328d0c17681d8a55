"""Parameter-efficient tuning: transforms that make the `TUNED` collection of a model."""

from jaxrec.peft.lora import Lora, LoraConfig, merge, unmerge
from jaxrec.peft.tuning import Size, TuneConfig, Tuning, size_of, start, variables

__all__ = [
    "Lora",
    "LoraConfig",
    "Size",
    "TuneConfig",
    "Tuning",
    "merge",
    "size_of",
    "start",
    "unmerge",
    "variables",
]
