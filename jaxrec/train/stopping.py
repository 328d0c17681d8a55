"""Requests to stop: SIGTERM, which schedulers send before they take a machine away, and Ctrl-C.

A run finishes the current step. With several processes all must stop after the same step, whichever
of them received the signal: JAX's preemption service chooses a step that none of them has passed.
"""

import signal
import threading
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopRequests:
    """Listens for requests to stop: `with StopRequests() as stop: ... if stop.asked(step): ...`.

    A second Ctrl-C interrupts at once, as usual. Signals only reach the main thread, so nothing is
    listened to in other threads.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
            # With several processes the preemption service handles SIGTERM.
            if jax.process_count() == 1:
                self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self, step: int) -> bool:
        """Whether to stop after this step; must be called after every step."""
        if jax.process_count() == 1:
            return self._asked
        return multihost_utils.reached_preemption_sync_point(step)

    def _ask(self, *_: object) -> None:
        self._asked = True

    def _interrupt(self, *_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGTERM)
