"""A tiny data set, model and run, for tests and for trying things out."""

from jaxrec.testing.data import tiny_interactions, write_tiny_csv
from jaxrec.testing.devices import run_on_devices
from jaxrec.testing.run import random_params, tiny_config, tiny_model, tiny_options, write_tiny_run
from jaxrec.testing.sentences import write_tiny_encoder

__all__ = [
    "random_params",
    "run_on_devices",
    "tiny_config",
    "tiny_interactions",
    "tiny_model",
    "tiny_options",
    "write_tiny_csv",
    "write_tiny_encoder",
    "write_tiny_run",
]
