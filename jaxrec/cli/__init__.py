"""Commands that only wire: one module a command, imported when it is called."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.cli.arguments import take_config as take_config
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
