"""A tiny data set, model and run, for tests and for trying things out."""

from jaxrec.testing.data import tiny_interactions, write_tiny_csv
from jaxrec.testing.run import tiny_config, tiny_model, tiny_options

__all__ = ["tiny_config", "tiny_interactions", "tiny_model", "tiny_options", "write_tiny_csv"]
