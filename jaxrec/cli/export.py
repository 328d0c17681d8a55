"""`jaxrec export MODEL --to hf --out DIR`: a run or a model in Hugging Face's format.

With `--to peft`, what a run trained on a frozen base is written by itself, as an adapter of PEFT.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.run_argument import check_no_config, read_run
from jaxrec.core import ConfigError, Count, printable

if TYPE_CHECKING:
    from jaxrec.models import Opened


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write config, weights, tokenizer and, for a run with item IDs, the map from items to IDs.

    The tokenizer of a run writes the token that its histories begin with, and a README shows how
    transformers computes the run's scores.

    A tuned run is merged into one model, or written as an adapter with `--to peft`.

    Attributes:
      model: a run directory, a model directory, or a checkpoint that `import-hf` reads.
      out: the directory to write; it must be empty or not exist.
      to: the format: a whole model, or the adapter of a tuned run.
      base: path or name of an adapter's base in Hugging Face's format; "" writes the base to the
        folder `base` beside the adapter.
      family: Hugging Face's model type; "auto" for the one the model came from, or the first that
        fits.
      dtype: type of the written weights.
      shard_mb: largest size of one file in megabytes.
    """

    model: Annotated[Path, tyro.conf.Positional]
    out: Path
    to: Literal["hf", "peft"] = "hf"
    base: str = ""
    family: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    shard_mb: Count = 5000


def run(arguments: list[str]) -> None:
    """Export the model and print where it is."""
    options = parse(Arguments, arguments, prog="jaxrec export")
    from jaxrec.models import LOADERS, check_free, is_model
    from jaxrec.runs import load_run, open_any

    if not options.model.is_dir():
        check_no_config(options.model)
    known = options.model.is_file() or (options.model / "config.json").exists()
    if options.to == "peft" or not (known or is_model(options.model)):
        load_run(options.model)  # It says what is there, and which runs are near.
    check_free(options.out)
    if options.to == "peft":
        _export_adapter(options)
        return
    if options.base:
        raise ConfigError("--base is the base of an adapter; use it with --to peft")
    opened = open_any(options.model)
    family = _export_model(options, opened, options.out)
    files = sorted(path.name for path in options.out.iterdir())
    print(f"saved in {printable(str(options.out))} as {family}: {', '.join(files)}")
    loader = LOADERS[opened.model.spec.kind]
    print(f"next: transformers.{loader}.from_pretrained({str(options.out)!r})")


def _export_model(options: Arguments, opened: "Opened", out: Path) -> str:
    """Write a whole model, and return its family."""
    from jaxrec.core import to_json, to_json_rows
    from jaxrec.data import begin_with
    from jaxrec.models import export_model

    extra = {}
    if opened.items is not None:
        extra["item_ids.json"] = to_json_rows(opened.items)
    if opened.search is not None:
        extra["recommender.json"] = to_json(opened.search)
    if opened.readme:
        extra["README.md"] = opened.readme
    if opened.start is not None:
        begin_with(opened.tokenizer, opened.start)
    return export_model(
        opened.model,
        out,
        family=None if options.family == "auto" else options.family,
        dtype=options.dtype,
        tokenizer=opened.tokenizer,
        shard_bytes=options.shard_mb * 1_000_000,
        extra=extra,
    )


def _export_adapter(options: Arguments) -> None:
    """Write what a tuned run trained, and its base unless `--base` names one."""
    from jaxrec.peft import save_peft
    from jaxrec.runs import offered

    config = read_run(options.model)
    opened, trained, tune = offered(config, "open_adapter")(config, options.model)
    base = options.base or str(options.out / "base")
    save_peft(opened.model, trained, options.out, rank_stabilized=tune.rank_stabilized, base=base)
    if not options.base:
        _export_model(options, opened, options.out / "base")
    print(f"saved in {printable(str(options.out))}: the adapter of {base}")
    print(f"next: peft.AutoPeftModel.from_pretrained({str(options.out)!r})")
