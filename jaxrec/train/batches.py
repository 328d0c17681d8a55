"""What a training reads: iterators of batches, some of which depend on the parameters."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


class Batches(Protocol):
    """An endless iterator whose position can be saved, such as Grain's."""

    def __next__(self) -> Any:
        """Return the next batch."""

    def get_state(self) -> Any:
        """Return the position, as JSON-serializable data or as JSON in bytes."""

    def set_state(self, state: Any) -> None:
        """Continue from a position that `get_state` returned."""


@runtime_checkable
class OnPolicy(Batches, Protocol):
    """Batches that depend on the parameters, such as texts that the trained model writes.

    Its position holds everything that the next batch depends on beside the parameters, such as the
    texts that were written and not used up.
    """

    def follow(self, variables: Any) -> None:
        """Take the model's variables before the next batch; the step after it overwrites them."""

    def values(self) -> dict[str, float]:
        """Return metrics to log beside those of the step."""

    def note(self, values: Mapping[str, float]) -> str:
        """Return what the progress bar shows in place of the loss.

        Args:
          values: metrics of the last step with those of `values`, as they are logged.
        """
