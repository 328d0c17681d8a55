"""Questions of an evaluation: prompts about some data, and the ground truth in numbers."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import Fields
from jaxrec.texts.datum import Datum


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Questions:
    """Prompts about data.

    Attributes:
      data: N data.
      prompts: N texts.
      fields: what each prompt was made of, its answer included.
      default: the number that counts for a text in which none can be read, such as the mean rating.

    Example:
      >>> from jaxrec.texts import Datum, Questions
      >>> asked = Questions(data=[Datum(user=3, item=7)], prompts=["what next ?"])
      >>> asked.users.tolist(), asked.targets.tolist()
      ([3], [7])
    """

    data: Sequence[Datum]
    prompts: Sequence[str]
    fields: Sequence[Fields] = ()
    default: float = float("nan")

    def __len__(self) -> int:
        """N."""
        return len(self.data)

    @functools.cached_property
    def users(self) -> np.ndarray:
        """[N] user numbers."""
        return np.array([datum.user for datum in self.data])

    @functools.cached_property
    def targets(self) -> np.ndarray:
        """[N] numbers of the items to find."""
        return np.array([datum.item for datum in self.data])

    @functools.cached_property
    def answers(self) -> np.ndarray:
        """[N] numbers of the right answers."""
        return np.array([datum.answer for datum in self.data])

    @functools.cached_property
    def stars(self) -> np.ndarray:
        """[N] true stars."""
        return np.array([datum.star for datum in self.data])

    @property
    def seen(self) -> list[np.ndarray]:
        """N arrays of the items of the histories, and of those that a seeker has rejected."""
        empty = np.zeros(0, np.int32)
        histories = [empty if datum.history is None else datum.history for datum in self.data]
        return [
            np.append(history, datum.rejected).astype(np.int32) if datum.turns else history
            for history, datum in zip(histories, self.data, strict=True)
        ]

    @functools.cached_property
    def candidates(self) -> np.ndarray:
        """[N, A] numbers of the items to choose from.

        Raises:
          DataError: questions without candidates, or with different numbers of them.
        """
        rows = [datum.candidates for datum in self.data if datum.candidates is not None]
        if len(rows) < len(self.data) or len({len(row) for row in rows}) > 1:
            raise DataError(
                f"{len(rows)} of {len(self.data)} questions have candidates; all must have the "
                "same number of them"
            )
        return np.stack(rows)
