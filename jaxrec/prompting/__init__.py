"""Prompting: one protocol for language models, and the methods that only ask."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.prompting.endpoint import (
        EndpointModel as EndpointModel,
        EndpointOptions as EndpointOptions,
    )
    from jaxrec.prompting.language_model import (
        GenerateOptions as GenerateOptions,
        LanguageModel as LanguageModel,
        Reply as Reply,
        Score as Score,
        TextScore as TextScore,
        Usage as Usage,
    )
    from jaxrec.prompting.local import (
        LocalModel as LocalModel,
        open_language_model as open_language_model,
    )
    from jaxrec.prompting.scripted import Call as Call, ScriptedModel as ScriptedModel
    from jaxrec.prompting.service_answers import (
        Prices as Prices,
        failure_counts as failure_counts,
    )
    from jaxrec.prompting.service_requests import (
        Requester as Requester,
        RequestOptions as RequestOptions,
        ServiceError as ServiceError,
    )
    from jaxrec.prompting.stored import (
        ReplayedModel as ReplayedModel,
        StoredModel as StoredModel,
    )
    from jaxrec.prompting.tokenized import (
        Overflow as Overflow,
        TokenRules as TokenRules,
        Window as Window,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
