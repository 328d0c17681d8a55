"""Prompting: one protocol for language models, and the methods that only ask."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.prompting.chain_of_thought import (
        Chain as Chain,
        ChainSettings as ChainSettings,
        Exemplar as Exemplar,
        Reasoned as Reasoned,
        majority as majority,
        reason as reason,
        self_consistency as self_consistency,
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
    from jaxrec.prompting.language_model import (
        GenerateOptions as GenerateOptions,
        LanguageModel as LanguageModel,
        Reply as Reply,
        Score as Score,
        TextScore as TextScore,
        Usage as Usage,
    )
    from jaxrec.prompting.local import (
        LocalModel as LocalModel,
        open_language_model as open_language_model,
    )
    from jaxrec.prompting.reasoning_scores import (
        ReasoningScores as ReasoningScores,
        score_reasoning as score_reasoning,
    )
    from jaxrec.prompting.scripted import Call as Call, ScriptedModel as ScriptedModel
    from jaxrec.prompting.tokenized import (
        Overflow as Overflow,
        TokenRules as TokenRules,
        Window as Window,
    )
    from jaxrec.prompting.verification import (
        Step as Step,
        arithmetic_steps as arithmetic_steps,
        verifies as verifies,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
