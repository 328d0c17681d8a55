"""Prompting: one protocol for language models, and the methods that only ask."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.prompting.agent_loop import (
        AgentParts as AgentParts,
        AgentResult as AgentResult,
        run_agent as run_agent,
    )
    from jaxrec.prompting.agent_parts import (
        act as act,
        act_with_tools as act_with_tools,
        by_backtracking as by_backtracking,
        by_memory as by_memory,
        by_reasoning as by_reasoning,
        language_critic as language_critic,
        language_lessons as language_lessons,
        language_planner as language_planner,
        read_steps as read_steps,
        show_view as show_view,
        world_feedback as world_feedback,
    )
    from jaxrec.prompting.agent_trace import (
        load_trace as load_trace,
        replay_agent as replay_agent,
        save_trace as save_trace,
    )
    from jaxrec.prompting.agent_types import (
        Budget as Budget,
        Comment as Comment,
        Observation as Observation,
        Plan as Plan,
        Refinement as Refinement,
        View as View,
        World as World,
    )
    from jaxrec.prompting.bm25 import Bm25 as Bm25
    from jaxrec.prompting.calculator import CALCULATOR as CALCULATOR, calculate as calculate
    from jaxrec.prompting.chain_of_thought import (
        Chain as Chain,
        ChainSettings as ChainSettings,
        Exemplar as Exemplar,
        Reasoned as Reasoned,
        majority as majority,
        reason as reason,
        self_consistency as self_consistency,
    )
    from jaxrec.prompting.demonstrations import (
        Demonstration as Demonstration,
        Verbalizer as Verbalizer,
        normal_input as normal_input,
        same_input as same_input,
    )
    from jaxrec.prompting.device_calls import draw_key as draw_key
    from jaxrec.prompting.endpoint import (
        EndpointModel as EndpointModel,
        EndpointOptions as EndpointOptions,
    )
    from jaxrec.prompting.extraction import (
        ANSWER_KINDS as ANSWER_KINDS,
        ANSWER_RULES as ANSWER_RULES,
        AnswerKind as AnswerKind,
        AnswerRule as AnswerRule,
        canonical as canonical,
        extract as extract,
        gsm8k_flexible as gsm8k_flexible,
        gsm8k_strict as gsm8k_strict,
    )
    from jaxrec.prompting.game24 import (
        GAME24_VALUES as GAME24_VALUES,
        Game24State as Game24State,
        can_reach_24 as can_reach_24,
        check_game24 as check_game24,
        game24_exact_moves as game24_exact_moves,
        game24_exact_values as game24_exact_values,
        game24_moves as game24_moves,
        game24_start as game24_start,
        game24_step as game24_step,
        read_game24 as read_game24,
    )
    from jaxrec.prompting.game24_language import (
        game24_language_moves as game24_language_moves,
        game24_language_values as game24_language_values,
    )
    from jaxrec.prompting.grammar import Derivation as Derivation, Grammar as Grammar
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
    from jaxrec.prompting.local import LocalModel as LocalModel
    from jaxrec.prompting.memory import (
        MemoryRecord as MemoryRecord,
        Recalled as Recalled,
        RecallOptions as RecallOptions,
        fit_tfidf as fit_tfidf,
        load_memory as load_memory,
        recall as recall,
        recall_scores as recall_scores,
        remember as remember,
        save_memory as save_memory,
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
        sample_orders as sample_orders,
        write_probes as write_probes,
    )
    from jaxrec.prompting.ordering import (
        Assembled as Assembled,
        Order as Order,
        arrange as arrange,
        assemble as assemble,
    )
    from jaxrec.prompting.pddl import (
        Domain as Domain,
        Problem as Problem,
        Schema as Schema,
        show_atom as show_atom,
    )
    from jaxrec.prompting.pddl_grounding import (
        Operator as Operator,
        Task as Task,
        ground as ground,
        show_facts as show_facts,
    )
    from jaxrec.prompting.pddl_heuristics import blind as blind, h_max as h_max, lm_cut as lm_cut
    from jaxrec.prompting.pddl_language import (
        LlmPlan as LlmPlan,
        LlmPlanOptions as LlmPlanOptions,
        PlanningExample as PlanningExample,
        describe_plan as describe_plan,
        plan_from_text as plan_from_text,
        planning_prompt as planning_prompt,
        translate_plan as translate_plan,
    )
    from jaxrec.prompting.pddl_missing import missing_atoms as missing_atoms
    from jaxrec.prompting.pddl_reader import (
        read_domain as read_domain,
        read_problem as read_problem,
    )
    from jaxrec.prompting.pddl_search import (
        PlanLimits as PlanLimits,
        PlanSearch as PlanSearch,
        find_plan as find_plan,
    )
    from jaxrec.prompting.pddl_text import find_definition as find_definition
    from jaxrec.prompting.pddl_validation import (
        Validation as Validation,
        read_plan as read_plan,
        read_step as read_step,
        validate_plan as validate_plan,
    )
    from jaxrec.prompting.program_writing import (
        ProgramOptions as ProgramOptions,
        ProgramScore as ProgramScore,
        ProgramTask as ProgramTask,
        WrittenProgram as WrittenProgram,
        read_program as read_program,
        read_tests as read_tests,
        run_tests as run_tests,
        score_program as score_program,
        write_program as write_program,
    )
    from jaxrec.prompting.reasoning_scores import (
        ReasoningScores as ReasoningScores,
        score_reasoning as score_reasoning,
    )
    from jaxrec.prompting.reflexion import (
        Attempt as Attempt,
        ReflexionOptions as ReflexionOptions,
        ReflexionResult as ReflexionResult,
        Trial as Trial,
        TrialContext as TrialContext,
        Verdict as Verdict,
        language_actor as language_actor,
        language_reflection as language_reflection,
        run_reflexion as run_reflexion,
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
    from jaxrec.prompting.service_answers import Prices as Prices, failure_counts as failure_counts
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
    from jaxrec.prompting.stored import ReplayedModel as ReplayedModel, StoredModel as StoredModel
    from jaxrec.prompting.text_thoughts import (
        text_expand as text_expand,
        text_values as text_values,
        text_votes as text_votes,
    )
    from jaxrec.prompting.thoughts import (
        propose_thoughts as propose_thoughts,
        sample_thoughts as sample_thoughts,
        value_thoughts as value_thoughts,
        vote_thoughts as vote_thoughts,
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
        Tool as Tool,
        ToolError as ToolError,
        ToolOutput as ToolOutput,
        count_failures as count_failures,
        describe_tools as describe_tools,
        use_tool as use_tool,
    )
    from jaxrec.prompting.tree_breadth import (
        BreadthLevel as BreadthLevel,
        BreadthOptions as BreadthOptions,
        BreadthResult as BreadthResult,
        Expansion as Expansion,
        Values as Values,
        breadth_first as breadth_first,
        select_places as select_places,
    )
    from jaxrec.prompting.tree_depth import (
        DepthOptions as DepthOptions,
        DepthResult as DepthResult,
        depth_first as depth_first,
    )
    from jaxrec.prompting.trigger_search import (
        TriggerModel as TriggerModel,
        TriggerOptions as TriggerOptions,
        TriggerStep as TriggerStep,
        replacement_scores as replacement_scores,
        search_triggers as search_triggers,
    )
    from jaxrec.prompting.verification import (
        Step as Step,
        arithmetic_steps as arithmetic_steps,
        verifies as verifies,
    )
    from jaxrec.prompting.wording_search import (
        GrammarParaphrases as GrammarParaphrases,
        ModelParaphrases as ModelParaphrases,
        Paraphrases as Paraphrases,
        Wording as Wording,
        WordingOptions as WordingOptions,
        search_wordings as search_wordings,
    )
    from jaxrec.prompting.worlds import GridWorld as GridWorld, PddlWorld as PddlWorld
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
