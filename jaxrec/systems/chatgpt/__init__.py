"""Is ChatGPT a good recommender? Five tasks that any language model is asked, without training."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.chatgpt.config import (
        ChatGptConfig as ChatGptConfig,
        ChatGptEvalConfig as ChatGptEvalConfig,
        DomainConfig as DomainConfig,
        GroundingConfig as GroundingConfig,
        PlantedConfig as PlantedConfig,
    )
    from jaxrec.systems.chatgpt.data import ChatData as ChatData, load_chat_data as load_chat_data
    from jaxrec.systems.chatgpt.tasks import TASKS as TASKS, chat_tasks as chat_tasks
    from jaxrec.systems.chatgpt.wordings import (
        WORDINGS as WORDINGS,
        Wording as Wording,
        read_wordings as read_wordings,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
