"""Prompting: one protocol for language models, and the methods that only ask."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.prompting.bm25 import Bm25 as Bm25
    from jaxrec.prompting.calculator import CALCULATOR as CALCULATOR, calculate as calculate
    from jaxrec.prompting.demonstrations import (
        Demonstration as Demonstration,
        Verbalizer as Verbalizer,
        same_input as same_input,
    )
    from jaxrec.prompting.endpoint import (
        EndpointModel as EndpointModel,
        EndpointOptions as EndpointOptions,
    )
    from jaxrec.prompting.informativeness import (
        gains as gains,
        most_informative as most_informative,
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
    from jaxrec.prompting.option_ranking import (
        CONTENT_FREE as CONTENT_FREE,
        OptionScore as OptionScore,
        calibrate as calibrate,
        content_free_scores as content_free_scores,
        option_probabilities as option_probabilities,
        score_options as score_options,
    )
    from jaxrec.prompting.order_entropy import (
        EntropyOrder as EntropyOrder,
        entropy_order as entropy_order,
        global_entropy as global_entropy,
        local_entropy as local_entropy,
        permutations as permutations,
        write_probes as write_probes,
    )
    from jaxrec.prompting.ordering import (
        Assembled as Assembled,
        Order as Order,
        arrange as arrange,
        assemble as assemble,
    )
    from jaxrec.prompting.retriever import (
        Retriever as Retriever,
        RetrieverOptions as RetrieverOptions,
        train_retriever as train_retriever,
    )
    from jaxrec.prompting.scripted import Call as Call, ScriptedModel as ScriptedModel
    from jaxrec.prompting.search_tools import (
        catalogue_tool as catalogue_tool,
        search_tool as search_tool,
    )
    from jaxrec.prompting.selection import (
        Scorer as Scorer,
        bm25_scores as bm25_scores,
        encoder_scores as encoder_scores,
        random_scores as random_scores,
        select as select,
        tfidf_scores as tfidf_scores,
        tfidf_vectors as tfidf_vectors,
    )
    from jaxrec.prompting.service_answers import (
        Prices as Prices,
        failure_counts as failure_counts,
    )
    from jaxrec.prompting.service_requests import (
        Requester as Requester,
        RequestOptions as RequestOptions,
        ServiceError as ServiceError,
    )
    from jaxrec.prompting.simple_tools import (
        calendar_tool as calendar_tool,
        python_tool as python_tool,
        recommender_tool as recommender_tool,
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
    from jaxrec.prompting.tool_calls import (
        FoundCall as FoundCall,
        ToolCall as ToolCall,
        find_calls as find_calls,
        without_calls as without_calls,
    )
    from jaxrec.prompting.toolformer import (
        Annotated as Annotated,
        Candidate as Candidate,
        SamplingOptions as SamplingOptions,
        annotate as annotate,
    )
    from jaxrec.prompting.toolformer_filter import (
        call_gain as call_gain,
        call_loss as call_loss,
        call_weights as call_weights,
    )
    from jaxrec.prompting.toolformer_inference import (
        ToolAnswer as ToolAnswer,
        continue_with_tools as continue_with_tools,
    )
    from jaxrec.prompting.toolformer_local import LocalMarkingModel as LocalMarkingModel
    from jaxrec.prompting.toolformer_model import (
        MARKER as MARKER,
        MarkingModel as MarkingModel,
        Reading as Reading,
    )
    from jaxrec.prompting.tools import (
        Observation as Observation,
        Tool as Tool,
        ToolError as ToolError,
        count_failures as count_failures,
        describe_tools as describe_tools,
        use_tool as use_tool,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
