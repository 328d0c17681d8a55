"""Export a run or a model in the format of another library; see `functions.export_run`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from jaxrec.cli.run_argument import check_no_config, read_run
from jaxrec.core import ConfigError, Count, check_ranges, quoted

if TYPE_CHECKING:
    from jaxrec.models import Opened

Format = Literal["hf", "hub-dir", "peft", "vllm", "flashrec"]
_DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote.

    Attributes:
      directory: where it is.
      family: Hugging Face's model type of the model, or of an adapter's base if that was written.
      loader: class of transformers that reads the model; "" for an adapter.
      base: path or name of an adapter's base; "" for a whole model.

    Example:
      >>> Exported(directory=Path("exports/a"), family="llama", loader="AutoModelForCausalLM").base
      ''
    """

    directory: Path
    family: str
    loader: str = ""
    base: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Options:
    """See the arguments of `export_run`."""

    model: Path
    out: Path
    to: Format
    base: str
    family: str
    dtype: Literal["float32", "bfloat16"]
    shard_mb: Count

    def __post_init__(self) -> None:
        check_ranges(self, "")
        for name, known in (("to", get_args(Format)), ("dtype", _DTYPES)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )


def export_model_of(
    model: Path,
    out: Path,
    *,
    to: Format,
    base: str,
    family: str,
    dtype: Literal["float32", "bfloat16"],
    shard_mb: int,
) -> Exported:
    """Export a run or a model; the arguments and errors are those of `functions.export_run`."""
    options = _Options(
        model=model, out=out, to=to, base=base, family=family, dtype=dtype, shard_mb=shard_mb
    )
    from jaxrec.models import LOADERS, check_free, is_model
    from jaxrec.runs import load_run, open_any

    if not model.is_dir():
        check_no_config(model)
    known = model.is_file() or (model / "config.json").exists()
    needs_run = to in ("peft", "hub-dir")
    if needs_run or not (known or is_model(model)):
        load_run(model)  # It says what is there, and which runs are near.
    check_free(out)
    if to == "peft":
        return _export_adapter(options)
    if base:
        raise ConfigError("--base is the base of an adapter; use it with --to peft")
    opened = open_any(model)
    card = _card(model, opened) if to == "hub-dir" else ""
    written = _export_model(options, opened, out, card)
    return Exported(directory=out, family=written, loader=LOADERS[opened.model.spec.kind])


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


def _export_model(options: _Options, opened: "Opened", out: Path, card: str = "") -> str:
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


def _export_adapter(options: _Options) -> Exported:
    """Write what a tuned run trained, and its base unless `--base` names one."""
    from jaxrec.peft import save_peft
    from jaxrec.runs import offered

    config = read_run(options.model)
    opened, trained, tune = offered(config, "open_adapter")(config, options.model)
    base = options.base or str(options.out / "base")
    save_peft(opened.model, trained, options.out, rank_stabilized=tune.rank_stabilized, base=base)
    family = opened.model.family or ""
    if not options.base:
        family = _export_model(options, opened, options.out / "base")
    return Exported(directory=options.out, family=family, base=base)
