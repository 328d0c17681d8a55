"""Which implementation of an operation runs, why, and how to overrule that."""

from typing import Literal

Implementation = Literal["auto", "xla", "triton", "mosaic"]
