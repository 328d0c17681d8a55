"""Parameter-efficient tuning: transforms that make the `TUNED` collection of a model."""

from jaxrec.peft.interchange import load_peft, save_peft
from jaxrec.peft.lora import Lora, LoraConfig, merge, unmerge
from jaxrec.peft.merged import merged

__all__ = ["Lora", "LoraConfig", "load_peft", "merge", "merged", "save_peft", "unmerge"]
