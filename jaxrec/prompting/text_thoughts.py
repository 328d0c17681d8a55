"""Trees of texts: a state is the text so far, and a language model extends and judges it.

(Yao et al. 2023, arXiv:2305.10601.) These functions make of a model what `breadth_first` and
`depth_first` ask for. In the paper, creative writing samples and votes, and the game of 24 proposes
and values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from jaxrec.core import ConfigError, nearest
from jaxrec.prompting.language_model import GenerateOptions, LanguageModel, Usage
from jaxrec.prompting.thoughts import (
    propose_thoughts,
    sample_thoughts,
    value_thoughts,
    vote_thoughts,
)
from jaxrec.prompting.tree_breadth import Evaluate, Expand, Expansion, Values

Making = Literal["propose", "sample"]


def text_expand(
    model: LanguageModel,
    prompt: Callable[[str], str],
    options: GenerateOptions,
    making: Making = "propose",
) -> Expand[str]:
    r"""Return a function that extends texts by thoughts of a model, each ended by a line break.

    Args:
      model: continues the prompts.
      prompt: the prompt of a text.
      options: how the model writes; for samples `n` is the number of children of a text.
      making: "propose" for a thought on each line of one answer, "sample" for independent answers.

    Returns:
      A function from texts to their children. Empty thoughts are dropped and counted.

    Raises:
      ConfigError: an unknown way of making thoughts.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: "a cat" + chr(10) + "a dog")
      >>> text_expand(model, lambda text: f"Go on: {text}", GenerateOptions())(["I saw "]).children
      (('I saw a cat\n', 'I saw a dog\n'),)
    """
    if making not in get_args(Making):
        raise ConfigError(
            f"making must be one of {', '.join(get_args(Making))}, got {making!r}"
            f"{nearest(str(making), get_args(Making))}"
        )
    think = propose_thoughts if making == "propose" else sample_thoughts

    def expand(texts: Sequence[str]) -> Expansion[str]:
        if not texts:
            return Expansion(())
        rows, usage = think(model, [prompt(text) for text in texts], options)
        children = tuple(
            tuple(f"{text}{thought}\n" for thought in row if thought)
            for text, row in zip(texts, rows, strict=True)
        )
        return Expansion(children, usage, sum(row.count("") for row in rows))

    return expand


def text_values(
    model: LanguageModel,
    prompt: Callable[[str], str],
    words: Mapping[str, float],
    options: GenerateOptions,
) -> Evaluate[str]:
    """Return a function that values each text by the words of a model's judgments.

    Args:
      model: continues the prompts.
      prompt: the prompt of a text, whose answer ends with one of the words.
      words: the number of each word; see `value_thoughts`.
      options: `n` is the number of judgments that are added up.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: "good" if "cat" in prompt else "bad")
      >>> judge = lambda text: f"Good or bad? {text}"
      >>> words = {"good": 1.0, "bad": 0.0}
      >>> text_values(model, judge, words, GenerateOptions())(["a cat", "a dog"]).values
      (1.0, 0.0)
    """

    def evaluate(texts: Sequence[str]) -> Values:
        if not texts:
            return Values((), Usage())
        return value_thoughts(model, [prompt(text) for text in texts], words, options)

    return evaluate


def text_votes(model: LanguageModel, question: str, options: GenerateOptions) -> Evaluate[str]:
    """Return a function that values texts by votes of a model among all of them.

    Args:
      model: continues the prompt.
      question: what the texts should achieve.
      options: `n` is the number of votes.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: "The best choice is 2")
      >>> text_votes(model, "Which animal barks?", GenerateOptions())(["a cat", "a dog"]).values
      (0.0, 1.0)
    """
    return lambda texts: vote_thoughts(model, question, texts, options)
