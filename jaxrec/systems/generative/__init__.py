"""The generative recommender: item IDs, a model trained on histories, constrained beam search."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.generative import model as model, recommender as recommender
    from jaxrec.systems.generative.config import (
        BatchConfig as BatchConfig,
        Config as Config,
        DecodeConfig as DecodeConfig,
        EvalConfig as EvalConfig,
        load_config as load_config,
    )
    from jaxrec.systems.generative.engines import (
        ENGINE_FAMILIES as ENGINE_FAMILIES,
        ENGINES as ENGINES,
        engine_files as engine_files,
        sid2pid as sid2pid,
    )
    from jaxrec.systems.generative.export_ranker import open_export as open_export
    from jaxrec.systems.generative.measure import measure_model as measure_model
    from jaxrec.systems.generative.model import start_tokens as start_tokens
    from jaxrec.systems.generative.new_items import (
        AddedItem as AddedItem,
        NewItem as NewItem,
        add_items as add_items,
        added_items as added_items,
        with_new_items as with_new_items,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
