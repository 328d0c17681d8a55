"""What Toolformer teaches a small model: to call a calculator where it helps, and nowhere else.

jaxrec sweep configs/toolformer/claims.py
"""

from jaxrec.runs import Sweep
from jaxrec.systems.toolformer import ToolformerConfig


def get_config() -> ToolformerConfig:
    return ToolformerConfig()


def get_sweep() -> Sweep:
    return Sweep(variants={"toolformer": get_config()}, metrics=("accuracy",), all_rows=True)
