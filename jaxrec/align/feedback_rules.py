"""Rules for answers: what must not be said, how likely an answer says it, and what that costs.

reward = preference - Σ_r λ_r P(answer breaks rule r)

(Glaese et al. 2022, arXiv:2209.14375.) A rule is a Python predicate or a classifier.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data import files


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule that answers may break.

    Attributes:
      name: of the rule.
      breaks: maps a prompt and an answer to the probability that the answer breaks the rule; a
        predicate returns True or False.
      weight: λ, the cost of breaking it.

    Raises:
      ConfigError: no name, or a weight that is negative or not finite.

    Example:
      >>> Rule("no shouting", lambda prompt, answer: answer.isupper(), 2.0).weight
      2.0
    """

    name: str
    breaks: Callable[[str, str], float | bool]
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Reject a rule without a name, and one that would reward being broken."""
        if not self.name:
            raise ConfigError("a rule needs a name")
        if not np.isfinite(self.weight) or self.weight < 0:
            raise ConfigError(
                f"the weight of the rule {self.name!r} must be a finite number of at least 0, got "
                f"{self.weight}"
            )


def violations(rules: Sequence[Rule], prompt: str, answers: Sequence[str]) -> np.ndarray:
    """Return the probability that each answer breaks each rule, `[rules, K]`.

    Args:
      rules: with different names.
      prompt: text.
      answers: K texts.

    Raises:
      ConfigError: two rules have the same name.
      DataError: a rule returns something that is no probability.

    Example:
      >>> violations([Rule("no shouting", lambda _, a: a.isupper())], "Hi", ["HI", "hi"]).tolist()
      [[1.0, 0.0]]
    """
    names = [rule.name for rule in rules]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two rules are called {twice[0]!r}; rename one")
    table = np.zeros((len(rules), len(answers)))
    for row, rule in enumerate(rules):
        for column, answer in enumerate(answers):
            found = rule.breaks(prompt, answer)
            try:
                value = float(found)
            except (TypeError, ValueError):
                value = float("nan")
            if not 0 <= value <= 1:
                raise DataError(
                    f"the rule {rule.name!r} returned {files.shown(found)} for the answer "
                    f"{files.shown(answer)}; return True, False or a probability"
                )
            table[row, column] = value
    return table


def penalized(preference: Any, broken: Any, weights: Any) -> Any:
    """R - Σ_r λ_r P_r: the reward of answers with the cost of the rules that they break.

    Args:
      preference: `[..., K]` rewards r.
      broken: `[rules, ..., K]` probabilities P.
      weights: `[rules]` weights λ.

    Raises:
      ConfigError: the shapes do not fit.

    Example:
      >>> penalized(np.array([1.0, 2.0]), np.array([[0.0, 1.0]]), np.array([3.0])).tolist()
      [1.0, -1.0]
    """
    if broken.shape[1:] != preference.shape or weights.shape != broken.shape[:1]:
        raise ConfigError(
            f"broken must be [rules, ...] for rewards [...] and weights [rules], got "
            f"{list(broken.shape)}, {list(preference.shape)} and {list(weights.shape)}"
        )
    columns = weights.reshape(-1, *[1] * preference.ndim)
    return preference - (columns * broken).sum(axis=0)
