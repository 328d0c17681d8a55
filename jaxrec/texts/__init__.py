"""What every recommender that reads prompts has: tasks, names, prompted and tuned text models."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.texts import clicks as clicks, tuned as tuned
    from jaxrec.texts.prompted import (
        Prompted as Prompted,
        Writing as Writing,
        fitted as fitted,
        item_numbers as item_numbers,
        make_names as make_names,
        make_tokenizer as make_tokenizer,
        measure as measure,
        plan_prompts as plan_prompts,
    )
    from jaxrec.texts.tasks import (
        NEEDS_RATINGS as NEEDS_RATINGS,
        NEEDS_REVIEWS as NEEDS_REVIEWS,
        NO as NO,
        YES as YES,
        PromptData as PromptData,
        check_data as check_data,
        eval_candidates as eval_candidates,
        held_out as held_out,
        make_task as make_task,
        reviewed_rows as reviewed_rows,
    )
    from jaxrec.texts.tuned import TextModel as TextModel
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
