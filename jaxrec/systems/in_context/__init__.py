"""In-context learning: a small language model that learns new tasks from its prompt."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.in_context.config import (
        InContextConfig as InContextConfig,
        InContextDataConfig as InContextDataConfig,
        InContextEvalConfig as InContextEvalConfig,
    )
    from jaxrec.systems.in_context.tasks import (
        Question as Question,
        Task as Task,
        Tasks as Tasks,
        Words as Words,
        make_tasks as make_tasks,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
