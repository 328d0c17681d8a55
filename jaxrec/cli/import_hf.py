"""`jaxrec import-hf SOURCE --out DIR`: read weights made elsewhere, check and store them."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.core import Seed, printable, quoted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Read a checkpoint, check every tensor, and write a model directory.

    Attributes:
      source: a directory in Hugging Face's format, a .gguf file, or a llama2.c .bin file.
      out: the directory to write; it must be empty or not exist.
      kind: architecture and head; "auto" for what the checkpoint says.
      dtype: type of the parameters.
      adapter: directory of a LoRA adapter of PEFT, which is merged into the weights.
      tokenizer: directory or llama2.c file of the tokenizer, if it is not beside the weights.
      ids: directory of item IDs (a run's `ids/`), which become tokens of the model.
      seed: seed of the new tokens' embeddings.
    """

    source: Annotated[Path, tyro.conf.Positional]
    out: Path
    kind: Literal[
        "auto",
        "causal",
        "encoder",
        "encoder_decoder",
        "masked",
        "causal_classifier",
        "encoder_classifier",
    ] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    adapter: Path | None = None
    tokenizer: Path | None = None
    ids: Path | None = None
    seed: Seed = 0


def run(arguments: list[str]) -> None:
    """Import the checkpoint and print what it is."""
    options = parse(Arguments, arguments, prog="jaxrec import-hf")
    import jax

    from jaxrec.ids import ItemCodes
    from jaxrec.models import add_ids, check_free, save_model
    from jaxrec.peft import load_peft, merged
    from jaxrec.runs import open_any

    check_free(options.out)
    codes = None if options.ids is None else ItemCodes.load(options.ids)
    begin = time.perf_counter()
    kind = None if options.kind == "auto" else options.kind
    opened = open_any(options.source, kind, options.dtype, options.tokenizer)
    if options.adapter is not None:
        model = merged(opened.model, load_peft(opened.model, options.adapter))
        opened = dataclasses.replace(opened, model=model)
    if codes is not None:
        opened = add_ids(opened, codes, jax.random.key(options.seed))
    spec = opened.model.spec
    save_model(opened.model, options.out, opened.tokenizer)
    count = sum(leaf.size for leaf in jax.tree.leaves(opened.model.params))
    tokenizer = "none" if opened.tokenizer is None else f"{len(opened.tokenizer):,} tokens"
    seconds = time.perf_counter() - begin
    print(
        f"{opened.model.family} {spec.kind}: {count:,} parameters, {spec.config.depth} blocks of "
        f"width {spec.config.width}, vocabulary {spec.config.vocab_size:,}; "
        f"tokenizer: {tokenizer}; {seconds:.1f} s"
    )
    print(f"saved in {printable(str(options.out))}")
    print(f"next: jaxrec export {quoted(options.out)} --to hf --out DIR")
