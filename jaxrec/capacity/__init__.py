"""Capacity: what a language model can do, task by task."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.capacity.arithmetic import (
        last_number as last_number,
        strict_number as strict_number,
    )
    from jaxrec.capacity.choices import accuracy as accuracy
    from jaxrec.capacity.declared import (
        TEXT_OVERLAPS as TEXT_OVERLAPS,
        TaskFile as TaskFile,
        make_task as make_task,
        read_task_file as read_task_file,
    )
    from jaxrec.capacity.documents import (
        Document as Document,
        Documents as Documents,
        Source as Source,
        data_directory as data_directory,
        find_files as find_files,
        read_documents as read_documents,
    )
    from jaxrec.capacity.estimates import (
        Estimate as Estimate,
        Metric as Metric,
        bits_of as bits_of,
        estimate as estimate,
        mean_of as mean_of,
        perplexity_of as perplexity_of,
        ratio_of as ratio_of,
    )
    from jaxrec.capacity.lm_eval import (
        generate_options as generate_options,
        lm_eval_model as lm_eval_model,
    )
    from jaxrec.capacity.masked import (
        MaskedModel as MaskedModel,
        MaskedPair as MaskedPair,
        MaskedScorer as MaskedScorer,
        shared_places as shared_places,
    )
    from jaxrec.capacity.page import (
        result_page as result_page,
        show_figure as show_figure,
        show_interval as show_interval,
    )
    from jaxrec.capacity.questions import (
        Choose as Choose,
        Follow as Follow,
        Question as Question,
        Read as Read,
        Several as Several,
        Write as Write,
        ask_all as ask_all,
    )
    from jaxrec.capacity.reading import (
        TEXT_METRICS as TEXT_METRICS,
        join_wikitext as join_wikitext,
        last_word_task as last_word_task,
        last_words as last_words,
        text_values as text_values,
        wikitext_pages as wikitext_pages,
    )
    from jaxrec.capacity.registry import TASKS as TASKS, find_tasks as find_tasks
    from jaxrec.capacity.study import (
        Result as Result,
        StudyOptions as StudyOptions,
        answer_json as answer_json,
        ask_documents as ask_documents,
        run_task as run_task,
        usage_of as usage_of,
    )
    from jaxrec.capacity.task import Task as Task, check_shots as check_shots
    from jaxrec.capacity.winogender import (
        fill_template as fill_template,
        is_gotcha as is_gotcha,
        slope as slope,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
