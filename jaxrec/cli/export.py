"""`jaxrec export MODEL --to hf --out DIR`: a run or a model in the format of another library.

--to hf        a model directory of Hugging Face
--to hub-dir   the same with a model card that has the run's metrics, ready to upload to the Hub
--to peft      what a run trained on a frozen base by itself, as an adapter of PEFT
--to vllm      a model directory, and the map from IDs to items, with a script for vLLM
--to flashrec  the same for FlashRec, which serves the architecture of Qwen3
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.run_argument import check_no_config, read_run
from jaxrec.core import ConfigError, Count, printable, quoted

if TYPE_CHECKING:
    from jaxrec.models import Opened


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
    to: Literal["hf", "hub-dir", "peft", "vllm", "flashrec"] = "hf"
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
    needs_run = options.to in ("peft", "hub-dir")
    if needs_run or not (known or is_model(options.model)):
        load_run(options.model)  # It says what is there, and which runs are near.
    check_free(options.out)
    if options.to == "peft":
        _export_adapter(options)
        return
    if options.base:
        raise ConfigError("--base is the base of an adapter; use it with --to peft")
    opened = open_any(options.model)
    card = _card(options.model, opened) if options.to == "hub-dir" else ""
    family = _export_model(options, opened, options.out, card)
    files = sorted(path.name for path in options.out.iterdir())
    print(f"saved in {printable(str(options.out))} as {family}: {', '.join(files)}")
    if options.to in ("vllm", "flashrec"):
        print(f"next: run the script of {quoted(options.out / 'README.md')}")
    elif options.to == "hub-dir":
        print(f"next: hf upload OWNER/NAME {quoted(options.out)}")
    else:
        loader = LOADERS[opened.model.spec.kind]
        print(f"next: transformers.{loader}.from_pretrained({str(options.out)!r})")


def _card(directory: Path, opened: "Opened") -> str:
    """The model card of a measured run, for a directory of its own."""
    from jaxrec.cli.report import read_parts
    from jaxrec.eval import model_card

    if opened.search is None:
        raise ConfigError(
            f"{directory} is no run of the generative recommender, and --to hub-dir writes what "
            "jaxrec.open reads of an export; use --to hf"
        )
    parts = read_parts(directory)
    if parts.report is None:
        raise ConfigError(
            f"{directory} has no metrics yet, and the model card that --to hub-dir writes needs "
            f"them; run jaxrec eval {quoted(directory)} first, or use --to hf"
        )
    return model_card(parts, usage=_HUB_USE)


# How the card of an export says to use it; the README of the export follows.
_HUB_USE = """\
With jaxrec, in the directory of this file, or with `jaxrec.open("hf://OWNER/NAME")` from the Hub:

```python
import jaxrec

model = jaxrec.open(".")
print(model.recommend(histories=[model.names.ids[:3].tolist()], top=5).titles[0])
```

The files hold the items that the model was trained on, with their titles, and no users."""


def _export_model(options: Arguments, opened: "Opened", out: Path, card: str = "") -> str:
    """Write a whole model, and return its family."""
    from jaxrec.core import to_json, to_json_rows
    from jaxrec.data import begin_with
    from jaxrec.models import export_model
    from jaxrec.systems.generative import ENGINE_FAMILIES, engine_files

    family = None if options.family == "auto" else options.family
    extra = {}
    if opened.items is not None:
        extra["item_ids.json"] = to_json_rows(opened.items)
    if opened.search is not None:
        extra["recommender.json"] = to_json(opened.search)
    if opened.readme:
        extra["README.md"] = _joined(card, opened.readme) if card else opened.readme
    if options.to in ("vllm", "flashrec"):
        extra |= engine_files(opened, options.to)
        family = family or ENGINE_FAMILIES[options.to]
    if opened.start is not None:
        begin_with(opened.tokenizer, opened.start)
    return export_model(
        opened.model,
        out,
        family=family,
        dtype=options.dtype,
        tokenizer=opened.tokenizer,
        shard_bytes=options.shard_mb * 1_000_000,
        extra=extra,
    )


def _joined(card: str, readme: str) -> str:
    """The card, and the README of an export as its last section."""
    _, _, rest = readme.partition("\n")
    return f"{card.rstrip()}\n\n## With transformers\n{rest}"


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
