"""Parameter-efficient tuning: transforms that make the `TUNED` collection of a model."""

from jaxrec.peft.lora import Lora, LoraConfig, merge, unmerge

__all__ = ["Lora", "LoraConfig", "merge", "unmerge"]
