"""Decoding: items by constrained beam search, text by sampling or beams, their caches."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.decode.answer_sets import (
        Answers as Answers,
        choose_answers as choose_answers,
        score_answers as score_answers,
        score_candidates as score_candidates,
        write_answers as write_answers,
    )
    from jaxrec.decode.answers import (
        answer_gaps as answer_gaps,
        answer_tokens as answer_tokens,
        differing_tokens as differing_tokens,
    )
    from jaxrec.decode.batching import (
        LengthGroup as LengthGroup,
        bucket as bucket,
        length_groups as length_groups,
    )
    from jaxrec.decode.beam import beam_search as beam_search, search_items as search_items
    from jaxrec.decode.cache import BeamCache as BeamCache, BeamContext as BeamContext
    from jaxrec.decode.cache_contexts import (
        CacheContext as CacheContext,
        PrefixContext as PrefixContext,
        SharedPrefix as SharedPrefix,
    )
    from jaxrec.decode.completion import (
        Completion as Completion,
        complete as complete,
        completion_of as completion_of,
        completions as completions,
        encode_prompts as encode_prompts,
        with_ends as with_ends,
    )
    from jaxrec.decode.continuations import (
        Continuations as Continuations,
        score_blocks as score_blocks,
        score_continuations as score_continuations,
    )
    from jaxrec.decode.generation import (
        Generated as Generated,
        TextOptions as TextOptions,
        generate as generate,
    )
    from jaxrec.decode.graph_search import (
        graph_top as graph_top,
        random_starts as random_starts,
        recall as recall,
    )
    from jaxrec.decode.history import (
        History as History,
        ReadOptions as ReadOptions,
        extend_histories as extend_histories,
        read_histories as read_histories,
    )
    from jaxrec.decode.history_pool import (
        HistoryPool as HistoryPool,
        PoolReading as PoolReading,
        extend_from_pool as extend_from_pool,
        read_for_pool as read_for_pool,
        store_in_pool as store_in_pool,
    )
    from jaxrec.decode.item_clusters import (
        ItemClusters as ItemClusters,
        cluster_items as cluster_items,
        spread_starts as spread_starts,
    )
    from jaxrec.decode.item_graph import (
        add_reverse_edges as add_reverse_edges,
        check_edges as check_edges,
        check_reverse as check_reverse,
        cluster_neighbours as cluster_neighbours,
        code_similarities as code_similarities,
        item_neighbours as item_neighbours,
        refine_neighbours as refine_neighbours,
    )
    from jaxrec.decode.kv_cache import (
        KVCache as KVCache,
        LanguageModel as LanguageModel,
        last_states as last_states,
        prefill as prefill,
        step as step,
        written_tokens as written_tokens,
    )
    from jaxrec.decode.level import (
        CodeLogits as CodeLogits,
        Normalize as Normalize,
        Step as Step,
        TrieLevel as TrieLevel,
        log_probabilities as log_probabilities,
        search_step as search_step,
    )
    from jaxrec.decode.next_k import next_items as next_items
    from jaxrec.decode.options import (
        Catalogue as Catalogue,
        Request as Request,
        SearchOptions as SearchOptions,
        beam_widths as beam_widths,
        check_beams as check_beams,
    )
    from jaxrec.decode.packed_codes import (
        PackedCodes as PackedCodes,
        pack_codes as pack_codes,
    )
    from jaxrec.decode.parallel_codes import (
        code_scores as code_scores,
        exact_top as exact_top,
        own_scores as own_scores,
    )
    from jaxrec.decode.prefixes import (
        PrefixGroup as PrefixGroup,
        first_tokens as first_tokens,
        prefix_groups as prefix_groups,
        read_prefix as read_prefix,
    )
    from jaxrec.decode.prompts import Prompts as Prompts
    from jaxrec.decode.recommend import (
        ListStrategy as ListStrategy,
        ReadRows as ReadRows,
        Recommender as Recommender,
        masks_are_faster as masks_are_faster,
    )
    from jaxrec.decode.row_settings import (
        RowSetting as RowSetting,
        RowSettings as RowSettings,
        choose_tokens as choose_tokens,
        filter_rows as filter_rows,
    )
    from jaxrec.decode.sampled import Draws as Draws, sample_items as sample_items
    from jaxrec.decode.sampling import (
        GREEDY as GREEDY,
        Sampling as Sampling,
        filter_logits as filter_logits,
        sample as sample,
    )
    from jaxrec.decode.search import Recommendations as Recommendations
    from jaxrec.decode.shared_answers import shared_answer_gaps as shared_answer_gaps
    from jaxrec.decode.stepwise import (
        MOST_ALTERNATIVES as MOST_ALTERNATIVES,
        StepOptions as StepOptions,
        StepState as StepState,
        WrittenChunk as WrittenChunk,
        advance_rows as advance_rows,
        score_prompts as score_prompts,
        start_rows as start_rows,
    )
    from jaxrec.decode.stop import (
        StopStrings as StopStrings,
        drop_first_space as drop_first_space,
        stop_table as stop_table,
        token_bytes as token_bytes,
    )
    from jaxrec.decode.strategies import BEST as BEST, Strategy as Strategy
    from jaxrec.decode.text_beam import TextBeams as TextBeams, beam_generate as beam_generate
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
