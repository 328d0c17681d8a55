"""Metrics, significance tests, leak checks and reports: one protocol for every system."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.eval.actions import (
        CallCounts as CallCounts,
        PlanAttempt as PlanAttempt,
        call_counts as call_counts,
        plan_metrics as plan_metrics,
    )
    from jaxrec.eval.answers import (
        exact_match as exact_match,
        normalize_answer as normalize_answer,
        token_f1 as token_f1,
    )
    from jaxrec.eval.beyond_accuracy import (
        Catalogue as Catalogue,
        list_quality as list_quality,
        thirds as thirds,
    )
    from jaxrec.eval.clicks import (
        auc_by_user as auc_by_user,
        auc_interval as auc_interval,
        click_metrics as click_metrics,
        paired_auc as paired_auc,
        pooled_auc as pooled_auc,
        pooled_auc_by_user as pooled_auc_by_user,
        share_by_user as share_by_user,
        within_user_auc as within_user_auc,
    )
    from jaxrec.eval.code import pass_at_k as pass_at_k
    from jaxrec.eval.code_use import code_use_png as code_use_png
    from jaxrec.eval.comparison_table import (
        markdown as markdown,
        replace_section as replace_section,
        seen_rule as seen_rule,
    )
    from jaxrec.eval.forgetting import (
        Recency as Recency,
        Retention as Retention,
        recency as recency,
        retention as retention,
    )
    from jaxrec.eval.hallucination import (
        Triple as Triple,
        Verdicts as Verdicts,
        agreement as agreement,
        find_entities as find_entities,
        invented_titles as invented_titles,
        judge_statements as judge_statements,
        list_rates as list_rates,
        set_overlap as set_overlap,
    )
    from jaxrec.eval.judgements import (
        PairVerdict as PairVerdict,
        Wins as Wins,
        both_orders as both_orders,
        tally as tally,
    )
    from jaxrec.eval.knowledge_graph import (
        filtered_rank as filtered_rank,
        rank_metrics as rank_metrics,
    )
    from jaxrec.eval.leaks import (
        last_plus_one_rate as last_plus_one_rate,
        max_plus_one_rate as max_plus_one_rate,
    )
    from jaxrec.eval.likelihood import (
        bits_per_byte as bits_per_byte,
        perplexity as perplexity,
    )
    from jaxrec.eval.position_bias import (
        PositionBias as PositionBias,
        place_targets as place_targets,
        probe_slots as probe_slots,
        slope_over_slots as slope_over_slots,
    )
    from jaxrec.eval.preferences import (
        CalibrationBin as CalibrationBin,
        calibration_error as calibration_error,
        pair_auc as pair_auc,
        pair_calibration as pair_calibration,
        pair_hits as pair_hits,
    )
    from jaxrec.eval.ranking import (
        Repeated as Repeated,
        TiedBlock as TiedBlock,
        Ties as Ties,
        average as average,
        check_repeated as check_repeated,
        evaluate as evaluate,
        hit_rate as hit_rate,
        list_metrics as list_metrics,
        mrr as mrr,
        ndcg as ndcg,
        ranking_metrics as ranking_metrics,
        removed_items as removed_items,
        seen_mask as seen_mask,
        tied_blocks as tied_blocks,
        top_lists as top_lists,
    )
    from jaxrec.eval.rating import (
        ParsedRatings as ParsedRatings,
        parse_ratings as parse_ratings,
        rating_errors as rating_errors,
    )
    from jaxrec.eval.relevance import (
        Gain as Gain,
        MapOver as MapOver,
        relevance_metrics as relevance_metrics,
    )
    from jaxrec.eval.report import (
        REPORT_KEYS as REPORT_KEYS,
        RunParts as RunParts,
        model_card as model_card,
        render as render,
    )
    from jaxrec.eval.report_facts import SystemFacts as SystemFacts
    from jaxrec.eval.significance import (
        Interval as Interval,
        PairedTest as PairedTest,
        bootstrap_interval as bootstrap_interval,
        crossed_interval as crossed_interval,
        crossed_test as crossed_test,
        holm as holm,
        paired_bootstrap as paired_bootstrap,
    )
    from jaxrec.eval.spans import SpanMatches as SpanMatches, match_spans as match_spans
    from jaxrec.eval.summaries import (
        SUMMARY_METRICS as SUMMARY_METRICS,
        summary_scores as summary_scores,
    )
    from jaxrec.eval.text import bleu as bleu, rouge as rouge, says as says
    from jaxrec.eval.titles import (
        DatedTitle as DatedTitle,
        natural_title as natural_title,
        plain_title as plain_title,
        split_year as split_year,
        without_brackets as without_brackets,
    )
    from jaxrec.eval.translation import (
        TranslationMetric as TranslationMetric,
        corpus_score as corpus_score,
        translation_score as translation_score,
        translation_signatures as translation_signatures,
        translation_statistics as translation_statistics,
    )
    from jaxrec.eval.truthfulness import mc1 as mc1, mc2 as mc2
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
