"""The descriptions that a run generates for the people of the recommendation, stored with it.

They are written once, after the training of the policy, by the tuned generator ("sft") and by the
policy ("girl"). Predictors read their vectors, and `jaxrec eval` compares the texts.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxrec.align import POLICY
from jaxrec.core import read_json, to_json, write_text
from jaxrec.systems.girl.blocks import center_of, scaled
from jaxrec.systems.girl.data import GirlData
from jaxrec.systems.girl.models import GOLD, REWARD, Models
from jaxrec.systems.girl.recommendation import Encoded
from jaxrec.systems.girl.vectors import Encoder, blocks_of
from jaxrec.systems.girl.writing import Written, write

SFT_TEXTS, GIRL_TEXTS, SHUFFLED = "sft", "girl", "shuffled"
FILE = "descriptions.json"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Descriptions:
    """Descriptions of several sources.

    Attributes:
      people: `[U]`, places of the people.
      written: by source, m lots of one description for each person.
    """

    people: np.ndarray
    written: Mapping[str, tuple[Written, ...]]

    def save(self, models: Models) -> None:
        """Write them into the run's directory."""
        stored = {
            "people": self.people.tolist(),
            "written": {
                source: [
                    {
                        "texts": list(lot.texts),
                        "values": {name: cells.tolist() for name, cells in lot.values.items()},
                    }
                    for lot in lots
                ]
                for source, lots in self.written.items()
            },
        }
        write_text(models.directory / FILE, to_json(stored))

    @classmethod
    def load(cls, models: Models) -> "Descriptions":
        """Read those of a run.

        Raises:
          DataError: the file is missing or damaged.
        """
        stored: Any = read_json(models.directory / FILE, missing="finish jaxrec train")
        return cls(
            people=np.array(stored["people"], np.int64),
            written={
                source: tuple(
                    Written(
                        texts=tuple(lot["texts"]),
                        values={name: np.array(cells) for name, cells in lot["values"].items()},
                    )
                    for lot in lots
                )
                for source, lots in stored["written"].items()
            },
        )


def write_descriptions(models: Models, data: GirlData, prompt: int) -> Descriptions:
    """Write descriptions to all people of the recommendation, by the generator and by the policy.

    Args:
      models: of a run whose stages are trained.
      data: of the run.
      prompt: number of tokens of a prompt in training.
    """
    people = data.people["recommendation"]
    reference = models.text.variables(models.generator())
    trained = models.trained_policy(prompt)
    task = models.task(
        models.writer.prompts([data.resumes[n] for n in people.tolist()]),
        reference,
        models.reward(REWARD),
    )
    gold, seed = models.reward(GOLD), models.config.train.seed
    written: dict[str, tuple[Written, ...]] = {}
    for number, (source, policy) in enumerate(
        ((SFT_TEXTS, trained | {POLICY: reference}), (GIRL_TEXTS, trained))
    ):
        written[source] = tuple(
            write(
                task,
                policy,
                models.text.tokenizer,
                jax.random.fold_in(jax.random.key(seed), 2 * lot + number),
                gold=gold,
                batch_size=models.config.eval.batch_size,
            )
            for lot in range(models.config.match.descriptions)
        )
    return Descriptions(people=people, written=written)


def encode_all(encoder: Encoder, data: GirlData, found: Descriptions, batch_size: int) -> Encoded:
    """Encode resumes, jobs and descriptions; "shuffled" are GIRL's descriptions for others.

    Resumes are centered by the mean of the resumes of the recommendation, jobs and descriptions by
    that of all jobs. People who are not of the recommendation have zeros.

    Args:
      encoder: of texts.
      data: of the run.
      found: the descriptions.
      batch_size: texts in each call.
    """
    resumes = encoder.encode([data.resumes[n] for n in found.people.tolist()], batch_size)
    jobs = encoder.encode(data.jobs, batch_size)
    width = jobs.shape[1]
    blocks = blocks_of(encoder, width)
    people = np.zeros((len(data.resumes), width), np.float32)
    people[found.people] = scaled(resumes, center_of(resumes, blocks), blocks)
    center, written = center_of(jobs, blocks), {}
    for source, lots in found.written.items():
        cells = np.stack([encoder.encode(lot.texts, batch_size) for lot in lots], axis=1)
        written[source] = np.zeros((len(data.resumes), *cells.shape[1:]), np.float32)
        written[source][found.people] = scaled(cells, center, blocks)
    shuffled = np.zeros_like(written[GIRL_TEXTS])
    # The people are in random order already, so the next one is anybody.
    shuffled[found.people] = written[GIRL_TEXTS][np.roll(found.people, 1)]
    written[SHUFFLED] = shuffled
    return Encoded(people=people, jobs=scaled(jobs, center, blocks), written=written, blocks=blocks)
