"""What every recommender that reads prompts has: tasks, names, prompted and tuned text models."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.texts import clicks as clicks, tuned as tuned
    from jaxrec.texts.answer_forms import (
        candidate_list_form as candidate_list_form,
        rating_form as rating_form,
        sentence_form as sentence_form,
        title_list_form as title_list_form,
        word_form as word_form,
    )
    from jaxrec.texts.answer_kinds import (
        Answerer as Answerer,
        AnswerKind as AnswerKind,
        AnswerOptions as AnswerOptions,
        CatalogueItem as CatalogueItem,
        Choice as Choice,
        FreeText as FreeText,
        OneOfCandidates as OneOfCandidates,
        Rating as Rating,
    )
    from jaxrec.texts.answering import AskedAnswerer as AskedAnswerer
    from jaxrec.texts.asked import (
        AskTotals as AskTotals,
        OptionScores as OptionScores,
        Replies as Replies,
        ask_model as ask_model,
        score_model as score_model,
    )
    from jaxrec.texts.asked_model import (
        SOURCES as SOURCES,
        AskedModelConfig as AskedModelConfig,
        open_asked_model as open_asked_model,
    )
    from jaxrec.texts.bootstrapping import (
        alpaca_instruct as alpaca_instruct,
        rejections as rejections,
        self_instruct as self_instruct,
    )
    from jaxrec.texts.candidate_sets import (
        candidate_metrics as candidate_metrics,
        check_candidate_sets as check_candidate_sets,
        read_candidate_sets as read_candidate_sets,
        shuffle_candidates as shuffle_candidates,
        target_places as target_places,
        write_candidate_sets as write_candidate_sets,
    )
    from jaxrec.texts.chat_model import ChatModel as ChatModel
    from jaxrec.texts.chats import (
        CHAT_TEMPLATE as CHAT_TEMPLATE,
        ROLES as ROLES,
        Chat as Chat,
        Message as Message,
        chat_end as chat_end,
        chat_prompt as chat_prompt,
        chat_template as chat_template,
        filter_chats as filter_chats,
        mark_chat as mark_chat,
        read_chats as read_chats,
        split_chats as split_chats,
        strip_contacts as strip_contacts,
    )
    from jaxrec.texts.click_data import (
        ClickDataConfig as ClickDataConfig,
        ClickParts as ClickParts,
        ClickSplit as ClickSplit,
        as_click_data as as_click_data,
        load_click_parts as load_click_parts,
        measure_clicks as measure_clicks,
    )
    from jaxrec.texts.click_runs import (
        ClickStage as ClickStage,
        begin_run as begin_run,
        load_click_run as load_click_run,
        train_stages as train_stages,
    )
    from jaxrec.texts.click_tasks import (
        CLICK as CLICK,
        CLICK_ANSWERS as CLICK_ANSWERS,
        PUBLISHED as PUBLISHED,
        SWAPPED as SWAPPED,
        ClickData as ClickData,
        click_prompts as click_prompts,
        quoted as quoted,
        render_window as render_window,
        window_datum as window_datum,
    )
    from jaxrec.texts.conversations import (
        OTHER_SAYINGS as OTHER_SAYINGS,
        SAYINGS as SAYINGS,
        Conversations as Conversations,
        converse as converse,
        render_conversation as render_conversation,
    )
    from jaxrec.texts.datum import Datum as Datum, Turn as Turn, TurnKind as TurnKind
    from jaxrec.texts.described import Described as Described, render_facts as render_facts
    from jaxrec.texts.exported import (
        open_tuned as open_tuned,
        open_tuned_adapter as open_tuned_adapter,
    )
    from jaxrec.texts.fact_sentences import (
        describe as describe,
        state as state,
        statements as statements,
        tell as tell,
    )
    from jaxrec.texts.facts import Facts as Facts, check_readable as check_readable
    from jaxrec.texts.factual_answers import (
        factual_form as factual_form,
        factual_shares as factual_shares,
    )
    from jaxrec.texts.films import film_tasks as film_tasks
    from jaxrec.texts.frames import (
        FRAMES as FRAMES,
        Frame as Frame,
        Record as Record,
        answer_ends as answer_ends,
        answer_of as answer_of,
        as_chat as as_chat,
        mark as mark,
        plain_text as plain_text,
        prompt_of as prompt_of,
    )
    from jaxrec.texts.genres import Genres as Genres
    from jaxrec.texts.grounding import (
        Grounded as Grounded,
        Grounding as Grounding,
        grounding_shares as grounding_shares,
    )
    from jaxrec.texts.instruction_prompts import (
        SeedTask as SeedTask,
        class_prompt as class_prompt,
        instance_prompt as instance_prompt,
        read_seeds as read_seeds,
        series_prompt as series_prompt,
        tasks_prompt as tasks_prompt,
    )
    from jaxrec.texts.instruction_rules import (
        Candidate as Candidate,
        fault as fault,
        read_class as read_class,
        read_instances as read_instances,
        read_series as read_series,
        read_tasks as read_tasks,
    )
    from jaxrec.texts.made_up import toy_tasks as toy_tasks
    from jaxrec.texts.metrics import (
        ChoiceMetrics as ChoiceMetrics,
        FactShares as FactShares,
        GapAuc as GapAuc,
        ListMetrics as ListMetrics,
        Metric as Metric,
        RatingErrors as RatingErrors,
        TextOverlap as TextOverlap,
        fact_shares as fact_shares,
    )
    from jaxrec.texts.names import (
        Names as Names,
        Writing as Writing,
        check_writable as check_writable,
        fit_templates as fit_templates,
        item_numbers as item_numbers,
        make_names as make_names,
    )
    from jaxrec.texts.novelty import NoveltyPool as NoveltyPool, rouge_words as rouge_words
    from jaxrec.texts.occupations import (
        occupation_preferences as occupation_preferences,
        occupation_tasks as occupation_tasks,
    )
    from jaxrec.texts.policy import Policy as Policy
    from jaxrec.texts.prompt_data import (
        PromptData as PromptData,
        draw_others as draw_others,
        eval_candidates as eval_candidates,
        held_out as held_out,
        render as render,
    )
    from jaxrec.texts.prompt_runs import (
        PromptParts as PromptParts,
        load_trained as load_trained,
        open_once as open_once,
        plan_parts as plan_parts,
        train_parts as train_parts,
    )
    from jaxrec.texts.prompted import (
        Prompted as Prompted,
        count_tokens as count_tokens,
        make_tokenizer as make_tokenizer,
        plan_prompts as plan_prompts,
    )
    from jaxrec.texts.question_ranker import QuestionRanker as QuestionRanker, alike as alike
    from jaxrec.texts.questions import Questions as Questions
    from jaxrec.texts.ranker import PromptRanker as PromptRanker
    from jaxrec.texts.repair import (
        AGAIN as AGAIN,
        AnswerForm as AnswerForm,
        Illegal as Illegal,
        Refined as Refined,
        RepairOptions as RepairOptions,
        refine as refine,
    )
    from jaxrec.texts.scored import ScoredText as ScoredText, scores_of as scores_of
    from jaxrec.texts.sources import (
        NO as NO,
        YES as YES,
        Asked as Asked,
        GivenStar as GivenStar,
        Need as Need,
        OneOf as OneOf,
        Pairs as Pairs,
        Prefixes as Prefixes,
        RatedRows as RatedRows,
        Source as Source,
        Stream as Stream,
        Unit as Unit,
    )
    from jaxrec.texts.strict_parsers import (
        LETTERS as LETTERS,
        order_scores as order_scores,
        read_choice as read_choice,
        read_order as read_order,
        read_rating as read_rating,
        without_lead as without_lead,
    )
    from jaxrec.texts.task_sets import (
        MOST_EXAMPLES as MOST_EXAMPLES,
        STYLES as STYLES,
        Instance as Instance,
        Style as Style,
        TaskSet as TaskSet,
        check_styles as check_styles,
        held_out_instances as held_out_instances,
        read_task_set as read_task_set,
        reverse as reverse,
        split_rows as split_rows,
        training_instances as training_instances,
    )
    from jaxrec.texts.tasks import (
        TextTask as TextTask,
        ask as ask,
        check_data as check_data,
        find_tasks as find_tasks,
        instructions as instructions,
        make_templates as make_templates,
        measure_task as measure_task,
        training_stream as training_stream,
        validation_units as validation_units,
    )
    from jaxrec.texts.tuned import TextModel as TextModel
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
