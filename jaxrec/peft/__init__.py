"""Parameter-efficient tuning: functions that create and use the `TUNED` collection of a model."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.peft import prompt as prompt
    from jaxrec.peft.adapter import Adapter as Adapter
    from jaxrec.peft.interchange import load_peft as load_peft, save_peft as save_peft
    from jaxrec.peft.lora import (
        Lora as Lora,
        LoraConfig as LoraConfig,
        merge as merge,
        unmerge as unmerge,
    )
    from jaxrec.peft.merging import merged as merged
    from jaxrec.peft.prefix import PrefixNetwork as PrefixNetwork
    from jaxrec.peft.prompt_encoder import (
        PromptNetwork as PromptNetwork,
        make_network as make_network,
    )
    from jaxrec.peft.several import combine as combine, route as route
    from jaxrec.peft.tuning import (
        Size as Size,
        TuneConfig as TuneConfig,
        Tuning as Tuning,
        size_of as size_of,
        start as start,
        variables as variables,
        without_networks as without_networks,
    )
    from jaxrec.peft.virtual import (
        Prepended as Prepended,
        Virtual as Virtual,
        prepend as prepend,
        virtual_of as virtual_of,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
