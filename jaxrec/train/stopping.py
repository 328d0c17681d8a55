"""Asked to stop: SIGTERM, as schedulers send it before they take a machine away, and Ctrl-C.

A run finishes the step that it is in. In several processes all must stop after the same step,
whichever of them was asked: JAX's preemption service finds that step, one that none has passed.
"""

import signal
import threading
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopRequests:
    """`with StopRequests() as stop: ... if stop.asked(step): ...`.

    A second Ctrl-C interrupts at once, as ever. Outside the main thread, to which signals go,
    nothing is listened to.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
            # In several processes SIGTERM is the preemption service's.
            if jax.process_count() == 1:
                self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self, step: int) -> bool:
        """Whether to stop after this step; to be called after every one."""
        if jax.process_count() == 1:
            return self._asked
        return multihost_utils.reached_preemption_sync_point(step)

    def _ask(self, *_: object) -> None:
        self._asked = True

    def _interrupt(self, *_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGTERM)
