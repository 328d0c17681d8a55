"""`jaxrec export MODEL --to hf --out DIR`: a run or a model in Hugging Face's format."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.core import ConfigError


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write config, weights, tokenizer and, of a run, the map between items and IDs.

    Attributes:
      model: a run directory, a model directory, or a checkpoint that `import-hf` reads.
      out: the directory to write.
      to: the format.
      family: Hugging Face's model type; "auto" for the one it came from, or the first that fits.
      dtype: of the weights.
      shard_mb: most megabytes of one file.
    """

    model: Annotated[Path, tyro.conf.Positional]
    out: Path
    to: Literal["hf"] = "hf"
    family: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    shard_mb: int = 5000


def run(arguments: list[str]) -> None:
    """Export."""
    options = parse(Arguments, arguments, prog="jaxrec export")
    if options.shard_mb < 1:
        raise ConfigError(f"--shard-mb must be at least 1, got {options.shard_mb}")
    from jaxrec.models import export_model
    from jaxrec.models.convert import check_free
    from jaxrec.systems.pretrained import open_any
    from jaxrec.systems.run import to_json_rows

    check_free(options.out)
    opened = open_any(options.model)
    extra = {}
    if opened.items is not None:
        extra["item_ids.json"] = to_json_rows(opened.items)
    family = export_model(
        opened.model,
        options.out,
        family=None if options.family == "auto" else options.family,
        dtype=options.dtype,
        tokenizer=opened.tokenizer,
        shard_bytes=options.shard_mb * 1_000_000,
        extra=extra,
    )
    files = sorted(path.name for path in options.out.iterdir())
    print(f"saved in {options.out} as {family}: {', '.join(files)}")
    print(f"next: transformers.AutoModel.from_pretrained({str(options.out)!r})")
