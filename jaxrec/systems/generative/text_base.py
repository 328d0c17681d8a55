"""A text model that learns item IDs: what it is, and its parameters with rows for the IDs' tokens.

The IDs' tokens follow those of the text, so a history is PAD (0), BOS (1) and then tokens of items.
What tokens 0 and 1 mean as text does not matter: the one is masked, the other stands in all rows.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.data import add_id_tokens, id_tokens
from jaxrec.ids import ItemCodes
from jaxrec.models import (
    Pretrained,
    describe_checkpoint,
    describe_model,
    extend_vocabulary,
    import_model,
    is_model,
    is_quantized,
    load_model,
    tokenizer_beside,
)

# Leaves with one row a token.
TABLES = ("embedding/table", "head/table")


def describe(path: Path) -> tuple[Pretrained, Any]:
    """Read a causal text model without its weights, and the tokenizer beside it.

    Raises:
      ConfigError: no causal model, or one without a tokenizer.
      DataError: no model there.
    """
    model = describe_model(path) if is_model(path) else describe_checkpoint(path)
    if is_model(path) and is_quantized(path):
        raise ConfigError(
            f"tune.base {path} is quantized already; give the model that it was made of, and "
            "tune.method qlora"
        )
    if model.spec.kind != "causal":
        raise ConfigError(
            f"tune.base {path} is of kind {model.spec.kind}; a recommender starts from one "
            "of kind causal"
        )
    tokenizer = tokenizer_beside(path)
    if tokenizer is None:
        raise ConfigError(
            f"tune.base {path} has no tokenizer beside it, so the item IDs cannot join its "
            "vocabulary; put its tokenizer there"
        )
    return model, tokenizer


def text_tokens(tokenizer: Any) -> int:
    """Number of tokens before those of the item IDs."""
    return tokenizer.get_vocab().get(id_tokens((1,))[0], len(tokenizer))


def load(path: Path, codes: ItemCodes, key: jax.Array) -> tuple[Pretrained, Pretrained]:
    """Read a causal text model and give it the item IDs as tokens.

    Args:
      path: a model directory or a checkpoint.
      codes: the item IDs.
      key: of the new rows, see `extend_vocabulary`.

    Returns:
      The model as it was, and the one whose last tokens are the IDs'.

    Raises:
      ConfigError: the tokenizer has other item IDs, or tokens after them.
    """
    _, tokenizer = describe(path)
    there = len(tokenizer)
    size = add_id_tokens(tokenizer, codes.sizes) + sum(codes.sizes)
    if len(tokenizer) != size:
        raise ConfigError(
            f"the tokenizer of {path} has {len(tokenizer) - size} tokens after the item IDs; start "
            "from the model without them"
        )
    model = load_model(path) if is_model(path) else import_model(path)
    # Tables are often longer than the vocabulary, to round their size.
    return model, extend_vocabulary(_cut(model, there), size, key)


def _cut(model: Pretrained, size: int) -> Pretrained:
    """The model with its first `size` tokens, or all where it has fewer."""
    leaves = flatten_dict(model.params["params"], sep="/")
    for path in TABLES:
        if path in leaves:
            leaves[path] = leaves[path][:size]
    size = min(size, model.spec.config.vocab_size)
    config = dataclasses.replace(model.spec.config, vocab_size=size)
    return dataclasses.replace(
        model,
        spec=dataclasses.replace(model.spec, config=config),
        params={"params": unflatten_dict(leaves, sep="/")},
    )
