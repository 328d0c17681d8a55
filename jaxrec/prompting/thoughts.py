r"""Thoughts of a language model: propose or sample next steps; value or vote on them.

(Yao et al. 2023, arXiv:2305.10601, section 3.) A proposal is one answer with a step on each line, a
sample one independent answer for each step. A value is the sum over `n` answers that each end with
a word such as "likely"; a vote names the best of several states.
"""

import re
from collections.abc import Mapping, Sequence

from jaxrec.core import ConfigError
from jaxrec.prompting.language_model import GenerateOptions, LanguageModel, Usage
from jaxrec.prompting.tree_breadth import Values

_CHOICE = re.compile(r"best choice is\D*?(\d+)", re.IGNORECASE)


def propose_thoughts(
    model: LanguageModel, prompts: Sequence[str], options: GenerateOptions
) -> tuple[list[list[str]], Usage]:
    """Ask for several next steps in one answer.

    Args:
      model: writes one step a line.
      prompts: one for each state.
      options: how it writes; with several continuations their lines are put together.

    Returns:
      The lines of each prompt's answer that are not empty, and what they have cost.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: "go left" + chr(10) + "go right")
      >>> propose_thoughts(model, ["Where to?"], GenerateOptions())[0]
      [['go left', 'go right']]
    """
    replies = model.generate(prompts, options)
    rows = [
        [line.strip() for text in reply.texts for line in text.splitlines() if line.strip()]
        for reply in replies
    ]
    return rows, sum((reply.usage for reply in replies), Usage())


def sample_thoughts(
    model: LanguageModel, prompts: Sequence[str], options: GenerateOptions
) -> tuple[list[list[str]], Usage]:
    """Ask for independent next steps.

    Args:
      model: writes one step an answer.
      prompts: one for each state.
      options: `n` is the number of steps of each state.

    Returns:
      The answers to each prompt, without spaces around them, and what they have cost.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: f" Plan {sample}")
      >>> sample_thoughts(model, ["A plan:"], GenerateOptions(n=2, temperature=1.0))[0]
      [['Plan 0', 'Plan 1']]
    """
    replies = model.generate(prompts, options)
    rows = [[text.strip() for text in reply.texts] for reply in replies]
    return rows, sum((reply.usage for reply in replies), Usage())


def value_thoughts(
    model: LanguageModel,
    prompts: Sequence[str],
    words: Mapping[str, float],
    options: GenerateOptions,
) -> Values:
    """Ask how promising states are.

    Args:
      model: ends its answer with a line that holds one of the words.
      prompts: one for each state.
      words: the number of each word, in lower case.
      options: `n` is the number of answers that are added up, 3 in the paper.

    Returns:
      The sum of each prompt's answers. An answer that ends with another word counts 0.

    Raises:
      ConfigError: no words.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: "10 + 14 = 24" + chr(10) + "Sure.")
      >>> options = GenerateOptions(n=3, temperature=0.7)
      >>> value_thoughts(model, ["10 14"], {"sure": 20.0, "impossible": 0.001}, options).values
      (60.0,)
    """
    if not words:
        raise ConfigError('words is empty; give words and numbers such as {"sure": 20.0}')
    replies = model.generate(prompts, options)
    values = []
    for reply in replies:
        lasts = [text.strip().lower().split("\n")[-1].strip(" .!*:") for text in reply.texts]
        values.append(float(sum(words.get(last, 0.0) for last in lasts)))
    return Values(tuple(values), sum((reply.usage for reply in replies), Usage()))


def vote_thoughts(
    model: LanguageModel, question: str, states: Sequence[str], options: GenerateOptions
) -> Values:
    """Ask which of several states is best.

    Args:
      model: ends its answer with "The best choice is N".
      question: what the states should achieve.
      states: texts.
      options: `n` is the number of votes, 5 in the paper.

    Returns:
      The number of votes for each state; a vote for none of them is not counted.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: f"The best choice is {1 + sample // 2}.")
      >>> options = GenerateOptions(n=3, temperature=1.0)
      >>> vote_thoughts(model, "Write a rhyme.", ["cat, hat", "cat, dog"], options).values
      (2.0, 1.0)
    """
    if not states:
        return Values(())
    listed = "\n\n".join(f"Choice {n}:\n{state}" for n, state in enumerate(states, start=1))
    prompt = (
        f"{question.strip()}\n\n{listed}\n\nCompare the choices. End with the line "
        '"The best choice is N", where N is the number of a choice.\n'
    )
    reply = model.generate([prompt], options)[0]
    votes = [0.0] * len(states)
    for text in reply.texts:
        found = _CHOICE.findall(text)
        if found and 1 <= int(found[-1][:9]) <= len(states):
            votes[int(found[-1]) - 1] += 1
    return Values(tuple(votes), reply.usage)
