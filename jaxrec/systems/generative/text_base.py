"""A text model to which item IDs are added as tokens.

The tokens of the IDs follow those of the text. A history is PAD (0), BOS (1) and then tokens of
items. It does not matter what tokens 0 and 1 mean as text: PAD is masked, and every row has BOS.
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
    check_tokenizer,
    describe_checkpoint,
    describe_model,
    extend_vocabulary,
    import_model,
    is_model,
    is_quantized,
    load_model,
    tokenizer_beside,
)

# Parameters with one row per token.
TABLES = ("embedding/table", "head/table")


def describe(path: Path) -> tuple[Pretrained, Any]:
    """Read a causal text model without its weights, and the tokenizer beside it.

    Raises:
      ConfigError: a model that is not causal, is quantized, or has no tokenizer.
      DataError: no model there, or a tokenizer with more tokens than the model.
    """
    model = describe_model(path) if is_model(path) else describe_checkpoint(path)
    if is_model(path) and is_quantized(path):
        raise ConfigError(
            f"tune.base {path} is already quantized; give the model that it was made from, with "
            "tune.method qlora"
        )
    if model.spec.kind != "causal":
        raise ConfigError(
            f"tune.base {path} is of kind {model.spec.kind}; a recommender starts from a model of "
            "kind causal"
        )
    tokenizer = tokenizer_beside(path)
    if tokenizer is None:
        raise ConfigError(
            f"tune.base {path} has no tokenizer beside it, so the item IDs cannot be added to its "
            "vocabulary; put its tokenizer there"
        )
    check_tokenizer(tokenizer, model.spec.config.vocab_size, path)
    return model, tokenizer


def text_tokens(tokenizer: Any) -> int:
    """Return the number of tokens before those of the item IDs."""
    return tokenizer.get_vocab().get(id_tokens((1,))[0], len(tokenizer))


def load(path: Path, codes: ItemCodes, key: jax.Array) -> tuple[Pretrained, Pretrained]:
    """Read a causal text model and add the item IDs as tokens.

    Args:
      path: a model directory or a checkpoint.
      codes: the item IDs.
      key: random key of the new rows; see `extend_vocabulary`.

    Returns:
      The model as it was, and the model whose last tokens are those of the IDs.

    Raises:
      ConfigError: the tokenizer has other item IDs, or tokens after them.
    """
    _, tokenizer = describe(path)
    there = len(tokenizer)
    size = add_id_tokens(tokenizer, codes.sizes) + sum(codes.sizes)
    if len(tokenizer) != size:
        raise ConfigError(
            f"the tokenizer of {path} has {len(tokenizer) - size} tokens after the item IDs; start "
            "from the model without these tokens"
        )
    model = load_model(path) if is_model(path) else import_model(path)
    # Tables are often longer than the vocabulary, because their size is rounded up.
    return model, extend_vocabulary(_cut(model, there), size, key)


def _cut(model: Pretrained, size: int) -> Pretrained:
    """Return the model with its first `size` tokens, or with all if it has fewer."""
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
