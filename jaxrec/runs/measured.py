"""The measurement of one system on the test items of a leave-one-out split, and its file."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxrec.core import read_arrays, write_arrays

PerUser = Mapping[str, np.ndarray]
_KIND = "measurement"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """One system on the test items.

    Attributes:
      metrics: one value per user, by metric.
      parameters: size of the model, frozen parameters included; 0 for a baseline that counts.
      fit_seconds: seconds of training or counting, over all sessions.
      test_seconds: seconds to recommend to all test users, compilation included.
      items: `[U, K]` int32, each user's list, best first; -1 in unfilled places.

    Example:
      >>> measured = Measured(
      ...     metrics={"hr@10": np.array([1.0, 0.0])},
      ...     parameters=0,
      ...     fit_seconds=0.1,
      ...     test_seconds=0.2,
      ...     items=np.array([[3, 1], [2, 0]], np.int32),
      ... )
      >>> float(measured.metrics["hr@10"].mean())
      0.5
    """

    metrics: PerUser
    parameters: int
    fit_seconds: float
    test_seconds: float
    items: np.ndarray

    def save(self, path: Path, protocol: Mapping[str, object]) -> None:
        """Write the measurement and its protocol to one file.

        Args:
          path: the file, such as `test.npz`.
          protocol: what was measured how; see `protocol_of`.

        Raises:
          ResourceError: it cannot be written.
        """
        facts = {
            name: getattr(self, name) for name in ("parameters", "fit_seconds", "test_seconds")
        }
        arrays = {f"metric:{name}": values for name, values in self.metrics.items()}
        settings = {"kind": _KIND, "protocol": dict(protocol)} | facts
        write_arrays(path, arrays | {"items": self.items}, settings)

    @classmethod
    def load(cls, path: Path) -> tuple["Measured", dict[str, object]]:
        """Read what `save` wrote.

        Returns:
          The measurement and its protocol.

        Raises:
          DataError: missing or damaged.
        """
        arrays, settings = read_arrays(path, _KIND, "jaxrec eval")
        items = arrays.pop("items")
        metrics = {name.removeprefix("metric:"): values for name, values in arrays.items()}
        facts = {name: settings[name] for name in ("parameters", "fit_seconds", "test_seconds")}
        return cls(metrics=metrics, items=items, **facts), settings["protocol"]
