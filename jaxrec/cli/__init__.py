"""The commands, one module each, imported when the command is called, and config files by name."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.cli.arguments import take_config as take_config
    from jaxrec.cli.configs import config_names as config_names, find_config as find_config
    from jaxrec.cli.loading import (
        load_config_file as load_config_file,
        load_corpus_file as load_corpus_file,
        load_sweep_file as load_sweep_file,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
