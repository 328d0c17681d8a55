"""Parameter-efficient tuning: transforms that make the `TUNED` collection of a model."""

from jaxrec.peft.adapter import Adapter
from jaxrec.peft.interchange import load_peft, save_peft
from jaxrec.peft.lora import Lora, LoraConfig, merge, unmerge
from jaxrec.peft.merged import merged
from jaxrec.peft.prefix import PrefixNetwork
from jaxrec.peft.several import combine, route
from jaxrec.peft.tuning import Size, TuneConfig, Tuning, size_of, start, variables
from jaxrec.peft.virtual import Prepended, Virtual, prepend, virtual_of

__all__ = [
    "Adapter",
    "Lora",
    "LoraConfig",
    "PrefixNetwork",
    "Prepended",
    "Size",
    "TuneConfig",
    "Tuning",
    "Virtual",
    "combine",
    "load_peft",
    "merge",
    "merged",
    "prepend",
    "route",
    "save_peft",
    "size_of",
    "start",
    "unmerge",
    "variables",
    "virtual_of",
]
