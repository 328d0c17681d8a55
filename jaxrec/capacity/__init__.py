"""Capacity: what a language model can do, task by task."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.capacity.acting import (
        Act as Act,
        Episode as Episode,
        follow_plan as follow_plan,
    )
    from jaxrec.capacity.choices import accuracy as accuracy
    from jaxrec.capacity.closed_book import (
        closed_book_task as closed_book_task,
        open_book_task as open_book_task,
        right_answers as right_answers,
    )
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
    from jaxrec.capacity.errands import (
        Errand as Errand,
        House as House,
        make_errand as make_errand,
        make_errands as make_errands,
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
    from jaxrec.capacity.fact_graph import (
        RELATIONS as RELATIONS,
        Fact as Fact,
        FactGraph as FactGraph,
        Relation as Relation,
        fact_document as fact_document,
        make_fact_graph as make_fact_graph,
        read_statements as read_statements,
    )
    from jaxrec.capacity.fact_tasks import (
        completion_task as completion_task,
        description_task as description_task,
        recency_task as recency_task,
    )
    from jaxrec.capacity.judge import (
        Comparison as Comparison,
        Judge as Judge,
        Judged as Judged,
        compare_answers as compare_answers,
        model_judge as model_judge,
        read_verdict as read_verdict,
        score_judge as score_judge,
    )
    from jaxrec.capacity.judged_answers import judge_task as judge_task
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
    from jaxrec.capacity.programs import (
        ending_of as ending_of,
        program_task as program_task,
        whole_program as whole_program,
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
    from jaxrec.capacity.recommended_titles import (
        read_titles as read_titles,
        title_task as title_task,
    )
    from jaxrec.capacity.registry import TASKS as TASKS, find_tasks as find_tasks
    from jaxrec.capacity.self_check import (
        model_support as model_support,
        self_check_task as self_check_task,
    )
    from jaxrec.capacity.study import (
        Result as Result,
        StudyOptions as StudyOptions,
        answer_json as answer_json,
        ask_documents as ask_documents,
        run_task as run_task,
        usage_of as usage_of,
    )
    from jaxrec.capacity.sums import (
        make_sums as make_sums,
        read_number as read_number,
        sum_task as sum_task,
        write_number as write_number,
    )
    from jaxrec.capacity.symbols import (
        coin_document as coin_document,
        letters_document as letters_document,
    )
    from jaxrec.capacity.task import Task as Task, check_shots as check_shots
    from jaxrec.capacity.task_calls import ask_about as ask_about
    from jaxrec.capacity.tool_questions import (
        ToolReply as ToolReply,
        WriteWithTools as WriteWithTools,
    )
    from jaxrec.capacity.truthfulqa import answer_labels as answer_labels
    from jaxrec.capacity.updates import compare_results as compare_results
    from jaxrec.capacity.winogender import (
        fill_template as fill_template,
        is_gotcha as is_gotcha,
        slope as slope,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
