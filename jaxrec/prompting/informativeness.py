"""Demonstrations that the model itself finds useful.

The gain of a demonstration e for an input x with the answer y is

    log P(y | f(e), f(x, ·)) - log P(y | f(x, ·))

in nats: what the model learns about y from e (Li and Qiu 2023, arXiv:2302.13539). It needs y, so it
chooses demonstrations for labelled inputs. `most_informative` turns it into a choice for all future
queries, and `jaxrec.prompting.train_retriever` learns to guess it. Shapes: B labelled inputs, N
candidates.
"""

from collections.abc import Sequence

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting.demonstrations import Demonstration, Verbalizer, same_input
from jaxrec.prompting.language_model import LanguageModel, check_logprobs


def gains(
    model: LanguageModel,
    verbalizer: Verbalizer,
    candidates: Sequence[Sequence[Demonstration]],
    labelled: Sequence[Demonstration],
) -> list[np.ndarray]:
    """Score candidates by what each of them alone adds to the probability of the right answer.

    Args:
      model: scores the answers.
      verbalizer: writes the task.
      candidates: of each labelled input.
      labelled: B inputs with their answers.

    Returns:
      For each labelled input float64 gains of its candidates in nats.

    Raises:
      ConfigError: lists of different lengths.
      DataError: a labelled input among its own candidates, or an answer whose log-probability is
        not finite.

    Cost: one prompt with one demonstration for each candidate, and one without for each input.

    Example:
      >>> from jaxrec.prompting import Demonstration, ScriptedModel, Verbalizer, gains
      >>> copies = ScriptedModel(
      ...     logprob=lambda prompt, answer: -0.1 if answer in prompt else -2.0
      ... )
      >>> pool = [Demonstration("a", "1"), Demonstration("b", "2")]
      >>> gains(copies, Verbalizer(), [pool], [Demonstration("c", "2")])[0].round(1).tolist()
      [0.0, 1.9]
    """
    if len(candidates) != len(labelled):
        raise ConfigError(
            f"{len(labelled)} labelled inputs need {len(labelled)} lists of candidates, got "
            f"{len(candidates)}"
        )
    prompts, answers = [], []
    for row, example in zip(candidates, labelled, strict=True):
        answer = [verbalizer.continuation(example.answer)]
        prompts.append(verbalizer.prompt([], example.input))
        prompts += [verbalizer.prompt([candidate], example.input) for candidate in row]
        answers += [answer] * (len(row) + 1)
    scores = model.score(prompts, answers)
    check_logprobs(scores, prompts)
    flat = np.array([row[0].logprob for row in scores], np.float64)
    if not np.isfinite(flat).all():
        place = int(np.isfinite(flat).argmin())
        raise DataError(
            f"the answer {answers[place][0]!r} has no chance after the prompt that ends with "
            f"{prompts[place][-60:]!r}, so a gain cannot be computed"
        )
    found, place = [], 0
    for row in candidates:
        found.append(flat[place + 1 : place + 1 + len(row)] - flat[place])
        place += len(row) + 1
    return found


def most_informative(
    model: LanguageModel,
    verbalizer: Verbalizer,
    pool: Sequence[Demonstration],
    labelled: Sequence[Demonstration],
    count: int,
) -> list[int]:
    """Choose the demonstrations with the highest mean gain on labelled inputs, for all queries.

    Args:
      model: scores the answers.
      verbalizer: writes the task.
      pool: N demonstrations.
      labelled: inputs with their answers, such as validation data. A demonstration is not scored on
        an input equal to its own.
      count: k.

    Returns:
      k numbers of the pool, the most informative first; of equal ones the first of the pool.

    Raises:
      ConfigError: `count` below 1 or above the size of the pool, or no labelled inputs.
      DataError: a demonstration that all labelled inputs are equal to.

    Cost: N prompts for each labelled input.

    Example:
      >>> from jaxrec.prompting import Demonstration, ScriptedModel, Verbalizer, most_informative
      >>> copies = ScriptedModel(
      ...     logprob=lambda prompt, answer: -0.1 if answer in prompt else -2.0
      ... )
      >>> pool = [Demonstration("a", "1"), Demonstration("b", "2")]
      >>> most_informative(copies, Verbalizer(), pool, [Demonstration("c", "2")], 1)
      [1]
    """
    if not 1 <= count <= len(pool):
        raise ConfigError(f"count must be from 1 to the pool's {len(pool)}, got {count}")
    if not labelled:
        raise ConfigError("no labelled inputs, so no demonstration can be scored; give some")
    places = [
        [n for n, shown in enumerate(pool) if not same_input(shown.input, example.input)]
        for example in labelled
    ]
    rows = [[pool[n] for n in row] for row in places]
    totals, times = np.zeros(len(pool)), np.zeros(len(pool))
    for row, values in zip(places, gains(model, verbalizer, rows, labelled), strict=True):
        totals[row] += values
        times[row] += 1
    if not times.all():
        raise DataError(
            f"demonstration {int(times.argmin())} equals every labelled input; give others"
        )
    return np.argsort(-totals / times, kind="stable")[:count].tolist()
