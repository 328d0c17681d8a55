"""One system on the test targets of a leave-one-out split, and how a run keeps it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxrec.core import read_arrays, write_arrays

PerUser = Mapping[str, np.ndarray]
_KIND = "measurement"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """One system on the test targets.

    Attributes:
      metrics: name to one value a user.
      parameters: numbers of the model, frozen ones included; 0 for counts.
      fit_seconds: training or counting, of this sitting.
      test_seconds: recommending to all test users, compilation included.
      items: `[U, K]` int32, each user's list, best first; -1 in unfilled places.
    """

    metrics: PerUser
    parameters: int
    fit_seconds: float
    test_seconds: float
    items: np.ndarray

    def save(self, path: Path, protocol: Mapping[str, object]) -> None:
        """Write to one file, with what it was measured on.

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
        """Read what `save` wrote, and the protocol.

        Raises:
          DataError: missing or damaged.
        """
        arrays, settings = read_arrays(path, _KIND, "jaxrec eval")
        items = arrays.pop("items")
        metrics = {name.removeprefix("metric:"): values for name, values in arrays.items()}
        facts = {name: settings[name] for name in ("parameters", "fit_seconds", "test_seconds")}
        return cls(metrics=metrics, items=items, **facts), settings["protocol"]
