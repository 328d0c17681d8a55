"""Training objectives: pure functions, mostly of scores or of a model's variables and a batch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.objectives.contrastive import (
        info_nce as info_nce,
        semi_synthetic as semi_synthetic,
        supervised_contrast as supervised_contrast,
    )
    from jaxrec.objectives.crf import (
        Crf as Crf,
        constrain_crf as constrain_crf,
        crf_log_marginals as crf_log_marginals,
        crf_log_partition as crf_log_partition,
        crf_loss as crf_loss,
        crf_marginals as crf_marginals,
        crf_part_terms as crf_part_terms,
        crf_score as crf_score,
        has_legal_path as has_legal_path,
        init_crf as init_crf,
        partial_crf_loss as partial_crf_loss,
        viterbi as viterbi,
    )
    from jaxrec.objectives.denoisers import (
        MIXTURES as MIXTURES,
        Denoiser as Denoiser,
        Lengths as Lengths,
        Noise as Noise,
        check_sentinels as check_sentinels,
        choose as choose,
        corrupt as corrupt,
        lengths_of as lengths_of,
        longest_text as longest_text,
        mixture as mixture,
        restore as restore,
        shares as shares,
    )
    from jaxrec.objectives.examples import (
        Backbone as Backbone,
        Corruption as Corruption,
        Example as Example,
        corrupted_batches as corrupted_batches,
    )
    from jaxrec.objectives.id_modeling import (
        cross_entropy as cross_entropy,
        id_loss as id_loss,
        next_item_loss as next_item_loss,
    )
    from jaxrec.objectives.language_modeling import language_loss as language_loss
    from jaxrec.objectives.loss import Loss as Loss
    from jaxrec.objectives.masked_language import (
        Masked as Masked,
        mask_for_prediction as mask_for_prediction,
        restore_masked as restore_masked,
    )
    from jaxrec.objectives.masked_prediction import (
        masked_loss as masked_loss,
        masked_scores as masked_scores,
    )
    from jaxrec.objectives.next_sentence import (
        PairMasking as PairMasking,
        Pairs as Pairs,
        pair_batches as pair_batches,
        stack_rows as stack_rows,
    )
    from jaxrec.objectives.phrases import Phrases as Phrases
    from jaxrec.objectives.prefix_language import prefix_length as prefix_length
    from jaxrec.objectives.ranking import bce as bce, bpr as bpr, sampled_softmax as sampled_softmax
    from jaxrec.objectives.robust import dro as dro, propensities as propensities
    from jaxrec.objectives.span_corruption import (
        corrupt_spans as corrupt_spans,
        restore_spans as restore_spans,
    )
    from jaxrec.objectives.spans import (
        SpanCounts as SpanCounts,
        SpanLengths as SpanLengths,
        fit_spans as fit_spans,
        random_segments as random_segments,
        span_counts as span_counts,
        span_lengths as span_lengths,
        span_mask as span_mask,
    )
    from jaxrec.objectives.tagging import (
        Replacement as Replacement,
        entity_ratio as entity_ratio,
        entity_ratio_loss as entity_ratio_loss,
        is_confident as is_confident,
        replace_confident as replace_confident,
        sharpen_labels as sharpen_labels,
        soft_label_loss as soft_label_loss,
    )
    from jaxrec.objectives.token_noise import (
        delete_tokens as delete_tokens,
        infill_tokens as infill_tokens,
        mask_tokens as mask_tokens,
        noise_count as noise_count,
        poisson_spans as poisson_spans,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
