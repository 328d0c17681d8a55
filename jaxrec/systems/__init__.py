"""One short file per published system, composed from the rooms above."""

from jaxrec.systems.config import Config

__all__ = ["Config"]
