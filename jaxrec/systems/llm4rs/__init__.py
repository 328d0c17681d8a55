"""LLM4RS: a language model ranks five candidates, point-wise, pair-wise or list-wise."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.llm4rs.answers import (
        Answered as Answered,
        ask_form as ask_form,
        random_level as random_level,
    )
    from jaxrec.systems.llm4rs.baselines import baseline_scores as baseline_scores
    from jaxrec.systems.llm4rs.config import (
        BASELINES as BASELINES,
        AskConfig as AskConfig,
        InstancesConfig as InstancesConfig,
        Llm4rsConfig as Llm4rsConfig,
        PromptConfig as PromptConfig,
    )
    from jaxrec.systems.llm4rs.instances import (
        Instances as Instances,
        build_instances as build_instances,
        load_instances as load_instances,
    )
    from jaxrec.systems.llm4rs.prompts import (
        FORMS as FORMS,
        Prompter as Prompter,
        clean_title as clean_title,
    )
    from jaxrec.systems.llm4rs.training import training_texts as training_texts
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
