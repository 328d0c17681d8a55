"""A tiny data set, model and run, for tests and quick experiments."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.testing.data import (
        tiny_interactions as tiny_interactions,
        write_tiny_csv as write_tiny_csv,
    )
    from jaxrec.testing.devices import run_on_devices as run_on_devices
    from jaxrec.testing.html import Page as Page
    from jaxrec.testing.opened import four_films as four_films
    from jaxrec.testing.peers import (
        PEERS as PEERS,
        batch as batch,
        compared as compared,
        make_peer as make_peer,
        our_greedy as our_greedy,
        our_output as our_output,
        their_greedy as their_greedy,
        their_output as their_output,
    )
    from jaxrec.testing.run import (
        random_params as random_params,
        tiny_config as tiny_config,
        tiny_model as tiny_model,
        tiny_options as tiny_options,
        write_tiny_run as write_tiny_run,
    )
    from jaxrec.testing.sentences import write_tiny_encoder as write_tiny_encoder
    from jaxrec.testing.service import scripted_service as scripted_service
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
