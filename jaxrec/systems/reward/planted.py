"""Feedback with a known best answer: a utility that is linear in the words, and noisy rankings.

An answer of n words has the utility u = scale * sqrt(n) * mean of the utilities of its words, which
are drawn from N(0, 1). A labeler ranks the answers by u plus Gumbel noise, so that each pair has
the probability of Bradley and Terry, P(i above j) = σ(u_i - u_j). No model orders pairs of answers
better than u does.
"""

import dataclasses
import itertools

import numpy as np

from jaxrec.align import Feedback
from jaxrec.systems.reward.config import PlantedConfig

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclasses.dataclass(frozen=True, eq=False)
class Planted:
    """A simulation and what only it knows.

    Attributes:
      config: of the simulation.
      records: one ranking of each prompt.
      words: utility of each word.

    Example:
      >>> found = Planted.of(PlantedConfig(prompts=2, answers=3, length=2))
      >>> len(found.records), sorted(found.records[0].ranks)
      (2, [1, 2, 3])
    """

    config: PlantedConfig
    records: list[Feedback]
    words: dict[str, float]

    @classmethod
    def of(cls, config: PlantedConfig) -> "Planted":
        """Draw the utilities, the answers and the rankings."""
        rng = np.random.default_rng(config.seed)
        syllables = [a + b for a in _CONSONANTS for b in _VOWELS]
        size = next(n for n in itertools.count(2) if len(syllables) ** n >= config.words)
        names = ["".join(parts) for parts in itertools.product(syllables, repeat=size)]
        chosen = rng.choice(len(names), config.words, replace=False)
        words = {names[k]: float(rng.normal()) for k in chosen}
        planted = cls(config, [], words)
        for number in range(config.prompts):
            drawn = rng.choice(list(words), (config.answers, config.length))
            answers = tuple(" ".join(row) for row in drawn)
            noisy = planted.utilities(answers) + rng.gumbel(size=config.answers)
            ranks = (-noisy).argsort().argsort() + 1
            planted.records.append(
                Feedback(
                    prompt_id=str(number),
                    prompt=f"Say something nice, number {number}: ",
                    answers=answers,
                    labeler="simulated",
                    kind="ranking",
                    payload={"ranks": ranks.tolist()},
                    time=float(number),
                )
            )
        return planted

    def utilities(self, answers: tuple[str, ...]) -> np.ndarray:
        """Return u of each answer: `[K]`."""
        values = [np.array([self.words[word] for word in text.split()]) for text in answers]
        return np.array([self.config.scale * v.mean() * np.sqrt(len(v)) for v in values])
