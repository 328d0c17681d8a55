"""Prompting: one protocol for language models, and the methods that only ask."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.prompting.language_model import (
        GenerateOptions as GenerateOptions,
        LanguageModel as LanguageModel,
        Reply as Reply,
        Score as Score,
        TextScore as TextScore,
        Usage as Usage,
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
    from jaxrec.prompting.pddl_heuristics import (
        blind as blind,
        h_max as h_max,
        lm_cut as lm_cut,
    )
    from jaxrec.prompting.pddl_language import (
        LlmPlan as LlmPlan,
        LlmPlanOptions as LlmPlanOptions,
        PlanningExample as PlanningExample,
        describe_plan as describe_plan,
        missing_atoms as missing_atoms,
        plan_from_text as plan_from_text,
        planning_prompt as planning_prompt,
        translate_plan as translate_plan,
    )
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
        validate_plan as validate_plan,
    )
    from jaxrec.prompting.scripted import Call as Call, ScriptedModel as ScriptedModel
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
