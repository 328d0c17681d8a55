"""The order of demonstrations whose predictions are least one-sided (Lu et al. 2022).

Some orders make a model give one answer to everything. Without labelled data this shows on probes:
inputs that the model itself writes after the demonstrations (arXiv:2104.08786). A good order has a
high

    GlobalE  entropy of the distribution of predicted options over the probes
    LocalE   mean over the probes of the entropy of the probabilities of the options

Shapes: P permutations, R probes, O options. Entropies are in nats.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting.demonstrations import Demonstration, Verbalizer, same_input
from jaxrec.prompting.language_model import GenerateOptions, LanguageModel
from jaxrec.prompting.option_ranking import option_probabilities, score_options

Entropy = Literal["global", "local"]
_PROBE_TOKENS, _PROBE_TEMPERATURE = 64, 1.0


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class EntropyOrder:
    """The chosen order, and the entropies that chose it.

    Attributes:
      order: numbers of the demonstrations in their order in the prompt.
      permutations: P permutations that were compared.
      entropies: `[P]` float64 in nats.
      probes: R inputs that the model wrote.
    """

    order: tuple[int, ...]
    permutations: tuple[tuple[int, ...], ...]
    entropies: np.ndarray
    probes: tuple[str, ...]


def sample_orders(count: int, most: int = 24, seed: int = 0) -> list[tuple[int, ...]]:
    """Return all permutations, or so many different ones drawn at random.

    Args:
      count: number of demonstrations.
      most: most permutations; 24 are all those of four demonstrations.
      seed: seed of the draws.

    Raises:
      ConfigError: a number below 1.

    Example:
      >>> len(sample_orders(3)), len(sample_orders(6))
      (6, 24)
    """
    if count < 1 or most < 1:
        raise ConfigError(f"count and most must be at least 1, got {count} and {most}")
    if math.factorial(count) <= most:
        return list(itertools.permutations(range(count)))
    rng = np.random.default_rng(seed)
    found: dict[tuple[int, ...], None] = {}
    while len(found) < most:
        found[tuple(rng.permutation(count).tolist())] = None
    return list(found)


def write_probes(
    model: LanguageModel,
    verbalizer: Verbalizer,
    demonstrations: Sequence[Demonstration],
    orders: Sequence[Sequence[int]],
    *,
    each: int = 1,
    seed: int = 0,
) -> list[str]:
    r"""Let the model write further inputs of the task, some after each order of demonstrations.

    A probe is what stands in the place of the input in the model's text. An empty one, one that is
    cut short, and one that was already written or is a demonstration's input are left out.

    Args:
      model: writes the probes.
      verbalizer: writes the task.
      demonstrations: of the prompt.
      orders: P permutations of them.
      each: number of samples after each order.
      seed: seed of the samples.

    Returns:
      At most P times `each` inputs.

    Raises:
      DataError: the model wrote no probe.

    Example:
      >>> from jaxrec.prompting import Demonstration, ScriptedModel, Verbalizer, write_probes
      >>> f = Verbalizer(query="In: {input}\nOut:")
      >>> model = ScriptedModel(lambda prompt, sample: " 3 + 3\nOut: 6")
      >>> write_probes(model, f, [Demonstration("1 + 1", "2")], [(0,)])
      ['3 + 3']
    """
    before, after = verbalizer.query.split("{input}")
    prompts = []
    for order in orders:
        parts = [verbalizer.instruction] if verbalizer.instruction else []
        parts += [verbalizer.demonstration(demonstrations[number]) for number in order]
        # A prompt must not end with a space, which most tokenizers join to the next word.
        prompts.append((verbalizer.separator.join([*parts, before])).rstrip(" "))
    stop = after.rstrip() if after.strip() else after
    options = GenerateOptions(
        max_tokens=_PROBE_TOKENS,
        stop=(stop, verbalizer.separator) if stop != verbalizer.separator else (stop,),
        n=each,
        temperature=_PROBE_TEMPERATURE,
        seed=seed,
    )
    found: list[str] = []
    for reply in model.generate(prompts, options):
        for text, truncated in zip(reply.texts, reply.truncated, strict=True):
            known = [*found, *(demonstration.input for demonstration in demonstrations)]
            if text.strip() and not truncated and not any(same_input(text, k) for k in known):
                found.append(text.strip())
    if not found:
        raise DataError(
            f"the model {model.name} wrote no input of its own after the demonstrations in "
            f"{len(prompts) * each} samples; raise each, or choose the order by similarity"
        )
    return found


def entropy_order(
    model: LanguageModel,
    verbalizer: Verbalizer,
    demonstrations: Sequence[Demonstration],
    options: Sequence[str],
    *,
    by: Entropy = "global",
    most: int = 24,
    each: int = 1,
    seed: int = 0,
) -> EntropyOrder:
    r"""Choose the order of demonstrations with the highest entropy on probes.

    Args:
      model: writes the probes and scores the options.
      verbalizer: writes the task.
      demonstrations: to order, the same for all queries.
      options: O answers, without the verbalizer's text around them.
      by: "global" or "local"; see the module.
      most: most permutations to compare.
      each: number of probes to write after each of them.
      seed: seed of permutations and probes.

    Returns:
      The order; of equal entropies the first permutation.

    Raises:
      ConfigError: an unknown entropy, or no demonstrations.
      DataError: the model wrote no probe.

    Cost: P `each` samples, and P R O scored answers.

    Example:
      >>> from jaxrec.prompting import Demonstration, ScriptedModel, Verbalizer, entropy_order
      >>> model = ScriptedModel(  # answers as the last demonstration does
      ...     lambda prompt, sample: f" {len(prompt)}{prompt[7]}",
      ...     logprob=lambda prompt, answer: float(prompt.split("->")[-2][1] == answer[1]),
      ... )
      >>> f = Verbalizer(query="{input} ->", separator="\n")
      >>> shown = [Demonstration("1", "a"), Demonstration("2", "b")]
      >>> entropy_order(model, f, shown, ["a", "b"]).entropies.tolist()
      [0.0, 0.0]
    """
    if by not in get_args(Entropy):
        raise ConfigError(f"by must be one of {get_args(Entropy)}, got {by!r}")
    orders = sample_orders(len(demonstrations), most, seed)
    probes = write_probes(model, verbalizer, demonstrations, orders, each=each, seed=seed)
    continuations = [verbalizer.continuation(option) for option in options]
    prompts = [
        verbalizer.prompt([demonstrations[number] for number in order], probe)
        for order in orders
        for probe in probes
    ]
    scores = score_options(model, prompts, continuations)
    chances = option_probabilities(scores).reshape(len(orders), len(probes), len(options))
    entropies = global_entropy(chances) if by == "global" else local_entropy(chances)
    return EntropyOrder(
        order=orders[int(entropies.argmax())],
        permutations=tuple(orders),
        entropies=entropies,
        probes=tuple(probes),
    )


def global_entropy(probabilities: np.ndarray) -> np.ndarray:
    """GlobalE: entropy of how often each option is predicted.

    Args:
      probabilities: `[P, R, O]`.

    Returns:
      `[P]` float64 in nats.

    Example:
      >>> global_entropy(np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.9, 0.1], [0.6, 0.4]]])).round(2)
      array([0.69, 0.  ])
    """
    options = probabilities.shape[-1]
    predicted = probabilities.argmax(axis=-1)[..., None] == np.arange(options)
    return _entropy(predicted.mean(axis=1))


def local_entropy(probabilities: np.ndarray) -> np.ndarray:
    """LocalE: mean entropy of the probabilities of the options.

    Args:
      probabilities: `[P, R, O]`.

    Returns:
      `[P]` float64 in nats.

    Example:
      >>> local_entropy(np.array([[[0.5, 0.5], [1.0, 0.0]]])).round(2)
      array([0.35])
    """
    return np.asarray(_entropy(probabilities).mean(axis=1))


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    from scipy.special import entr

    # 0.0 + turns a negative zero into a zero.
    return np.asarray(0.0 + entr(probabilities).sum(axis=-1))
