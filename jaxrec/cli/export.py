"""`jaxrec export MODEL --to hf --out DIR`: a run or a model in the format of another library.

--to hf        a model directory of Hugging Face
--to hub-dir   the same with a model card that has the run's metrics, ready to upload to the Hub
--to peft      what a run trained on a frozen base by itself, as an adapter of PEFT
--to vllm      a model directory, and the map from IDs to items, with a script for vLLM
--to flashrec  the same for FlashRec, which serves the architecture of Qwen3
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.exporting import Format
from jaxrec.core import Count, printable, quoted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write config, weights, tokenizer and, for a run with item IDs, the map from items to IDs.

    The tokenizer of a run writes the token that its histories begin with, and a README shows how
    transformers, vLLM or FlashRec computes the run's scores.

    A tuned run is merged into one model, or written as an adapter with `--to peft`.

    Attributes:
      model: a run directory, a model directory, or a checkpoint that `import-hf` reads.
      out: the directory to write; it must be empty or not exist.
      to: the format: a whole model; one with a model card for the Hub; the adapter of a tuned run;
        or a model with the map from IDs to items for a serving engine.
      base: path or name of an adapter's base in Hugging Face's format; "" writes the base to the
        folder `base` beside the adapter.
      family: Hugging Face's model type; "auto" for the one the model came from, or the first that
        fits.
      dtype: type of the written weights.
      shard_mb: largest size of one file in megabytes.
    """

    model: Annotated[Path, tyro.conf.Positional]
    out: Path
    to: Format = "hf"
    base: str = ""
    family: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    shard_mb: Count = 5000


def run(arguments: list[str]) -> None:
    """Export the model and print where it is."""
    options = parse(Arguments, arguments, prog="jaxrec export")
    from jaxrec.cli.functions import export_run

    out = options.out
    made = export_run(
        options.model,
        out,
        to=options.to,
        base=options.base,
        family=options.family,
        dtype=options.dtype,
        shard_mb=options.shard_mb,
    )
    if options.to == "peft":
        print(f"saved in {printable(str(out))}: the adapter of {made.base}")
        print(f"next: peft.AutoPeftModel.from_pretrained({str(out)!r})")
        return
    files = sorted(path.name for path in out.iterdir())
    print(f"saved in {printable(str(out))} as {made.family}: {', '.join(files)}")
    if options.to in ("vllm", "flashrec"):
        print(f"next: run the script of {quoted(out / 'README.md')}")
    elif options.to == "hub-dir":
        print(f"next: hf upload OWNER/NAME {quoted(out)}")
    else:
        print(f"next: transformers.{made.loader}.from_pretrained({str(out)!r})")
