"""The commands, one module each, and what they do as functions of Python.

Modules are imported when a command is called.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.cli.arguments import take_config as take_config
    from jaxrec.cli.configs import config_names as config_names, find_config as find_config
    from jaxrec.cli.exporting import Exported as Exported
    from jaxrec.cli.functions import (
        evaluate_run as evaluate_run,
        export_run as export_run,
        train_run as train_run,
    )
    from jaxrec.cli.loading import (
        load_config_file as load_config_file,
        load_corpus_file as load_corpus_file,
        load_sweep_file as load_sweep_file,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
