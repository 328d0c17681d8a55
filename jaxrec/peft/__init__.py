"""Parameter-efficient tuning: transforms that make the `TUNED` collection of a model."""

from jaxrec.peft.interchange import load_peft, save_peft
from jaxrec.peft.lora import Lora, LoraConfig, merge, unmerge
from jaxrec.peft.merged import merged
from jaxrec.peft.tuning import Size, TuneConfig, Tuning, size_of, start, variables

__all__ = [
    "Lora",
    "LoraConfig",
    "Size",
    "TuneConfig",
    "Tuning",
    "load_peft",
    "merge",
    "merged",
    "save_peft",
    "size_of",
    "start",
    "unmerge",
    "variables",
]
