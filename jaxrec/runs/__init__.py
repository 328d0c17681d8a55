"""What every run has: its directory, shared settings, the evaluation protocol and comparisons."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.runs import compare as compare, sequential_run as sequential_run
    from jaxrec.runs.baseline_ranker import open_baseline as open_baseline
    from jaxrec.runs.baselines import (
        Score as Score,
        counting_scores as counting_scores,
        fit_baseline as fit_baseline,
        measure_baseline as measure_baseline,
        measure_baselines as measure_baselines,
        rank_by_scores as rank_by_scores,
    )
    from jaxrec.runs.changes import (
        Changes as Changes,
        read_changes as read_changes,
        write_changes as write_changes,
    )
    from jaxrec.runs.compare import Compared as Compared, with_seed as with_seed
    from jaxrec.runs.config import (
        COUNTING as COUNTING,
        METRIC as METRIC,
        TEXTUAL as TEXTUAL,
        TRAINED as TRAINED,
        BaselinesConfig as BaselinesConfig,
        RankConfig as RankConfig,
        SampledEvalConfig as SampledEvalConfig,
        SearchConfig as SearchConfig,
        check_counting as check_counting,
        check_unread as check_unread,
        with_filter_seen as with_filter_seen,
    )
    from jaxrec.runs.directory import (
        TEST_FILE as TEST_FILE,
        DescribedData as DescribedData,
        check_files as check_files,
        check_run as check_run,
        create_run as create_run,
        is_run as is_run,
        load_codes as load_codes,
        load_run as load_run,
        near_run as near_run,
        read_training as read_training,
        run_identity as run_identity,
        write_summary as write_summary,
    )
    from jaxrec.runs.domains import (
        Domain as Domain,
        known_users as known_users,
        load_domains as load_domains,
    )
    from jaxrec.runs.evaluation import (
        can_evaluate as can_evaluate,
        check_baselines as check_baselines,
        evaluate_run as evaluate_run,
    )
    from jaxrec.runs.kept import (
        Kept as Kept,
        keep_data as keep_data,
        kept_of as kept_of,
        read_kept as read_kept,
    )
    from jaxrec.runs.measured import Measured as Measured
    from jaxrec.runs.opened import (
        language_model_of as language_model_of,
        open_any as open_any,
        open_language_model as open_language_model,
        open_reward as open_reward,
    )
    from jaxrec.runs.parts import read_parts as read_parts
    from jaxrec.runs.protocol import (
        TIES as TIES,
        Stage as Stage,
        heading as heading,
        known_share as known_share,
        leak_audit as leak_audit,
        protocol_of as protocol_of,
        rank_users as rank_users,
        ranking_batches as ranking_batches,
    )
    from jaxrec.runs.quick import (
        WARNING as WARNING,
        is_quick as is_quick,
        label_results as label_results,
        make_quick as make_quick,
        marked as marked,
    )
    from jaxrec.runs.ranker import (
        Asked as Asked,
        Ranker as Ranker,
        RowBatch as RowBatch,
        ServedRanker as ServedRanker,
        WarmedRanker as WarmedRanker,
        batch_sizes as batch_sizes,
        check_scores as check_scores,
        check_top as check_top,
        mask_of as mask_of,
        named_users as named_users,
        open_kept as open_kept,
        reads_times as reads_times,
        row_batches as row_batches,
    )
    from jaxrec.runs.requests import (
        Recommendations as Recommendations,
        RecommendedItem as RecommendedItem,
        RecommendRequest as RecommendRequest,
        TextRecommendations as TextRecommendations,
        best_of_all as best_of_all,
        find_user as find_user,
        known_items as known_items,
        listed as listed,
        recommend_by_scores as recommend_by_scores,
        some_users as some_users,
        whole_history as whole_history,
    )
    from jaxrec.runs.scaling_estimate import LAWS as LAWS, Fit as Fit, fit_law as fit_law
    from jaxrec.runs.scaling_frontier import (
        Frontier as Frontier,
        envelope as envelope,
        isoflop as isoflop,
    )
    from jaxrec.runs.scaling_laws import (
        CHINCHILLA as CHINCHILLA,
        KAPLAN_EMPIRICAL as KAPLAN_EMPIRICAL,
        KAPLAN_POWER as KAPLAN_POWER,
        PF_DAY as PF_DAY,
        Chinchilla as Chinchilla,
        KaplanJoint as KaplanJoint,
        KaplanSteps as KaplanSteps,
        Optimum as Optimum,
        PowerLaw as PowerLaw,
        kaplan_allocation as kaplan_allocation,
        kaplan_exponents as kaplan_exponents,
    )
    from jaxrec.runs.scaling_plan import (
        Plan as Plan,
        device_peak as device_peak,
        make_plan as make_plan,
        propose_shape as propose_shape,
        training_days as training_days,
    )
    from jaxrec.runs.scaling_plot import check_format as check_format, draw_fit as draw_fit
    from jaxrec.runs.scaling_points import (
        PointColumns as PointColumns,
        Points as Points,
        drop_highest as drop_highest,
        make_points as make_points,
        read_points as read_points,
    )
    from jaxrec.runs.scaling_sweep import read_sweep_points as read_sweep_points
    from jaxrec.runs.scoring_ranker import ScoringRanker as ScoringRanker
    from jaxrec.runs.stages import (
        check_stages as check_stages,
        placed as placed,
        train_stages as train_stages,
    )
    from jaxrec.runs.sweep import (
        Sweep as Sweep,
        check_alike as check_alike,
        make_sweep as make_sweep,
        run_sweep as run_sweep,
    )
    from jaxrec.runs.sweep_rows import resolved as resolved
    from jaxrec.runs.sweep_text import sweep_markdown as sweep_markdown
    from jaxrec.runs.system import (
        Options as Options,
        System as System,
        offered as offered,
        short_name as short_name,
        system_names as system_names,
        system_of as system_of,
    )
    from jaxrec.runs.table import (
        MODEL as MODEL,
        baseline_table as baseline_table,
        left_out_lines as left_out_lines,
        table_lines as table_lines,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
