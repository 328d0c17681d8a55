"""A trained P5 run in use: recommendations for one user, and the model as a plain T5."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.items import item_rows
from jaxrec.models import ModelSpec, Opened, Pretrained
from jaxrec.runs import Recommendations, RecommendRequest, known_items, listed
from jaxrec.systems.p5.tested import Tested, recommend_items


def recommend(tested: Tested, codes: Any, request: RecommendRequest) -> Recommendations:
    """Ask the first task that ranks the whole catalogue, in a wording of the training.

    Args:
      tested: a trained run.
      codes: its item IDs.
      request: what is asked for.

    Raises:
      ConfigError: an unknown user, tasks that rank no catalogue, or more items than the search
        generates.
    """
    data = tested.data
    user, history = known_items(data.dataset, request)
    items, scores = recommend_items(
        tested, [user], [history], top=request.top, filter_seen=not request.include_seen
    )
    return listed(
        request,
        data.dataset.interactions.items.labels(),
        history,
        items[0],
        scores[0],
        score="log-probability of each ID",
        codes=codes.codes,
    )


def open_model(tested: Tested, codes: Any) -> Opened:
    """Return the model as a T5 of Hugging Face can be: the same logits, other parameters.

    T5 scales neither embeddings nor attention scores, so both scales are folded into parameters:
    the encoder and the decoder read a scaled table, and the head has the unscaled one for itself.
    T5 cannot forbid tokens, so the tokens of users, which are never written, are listed as
    `suppress_tokens` for generation; their rows of the head are zero.

    Args:
      tested: a trained run.
      codes: its item IDs.

    Raises:
      ConfigError: a model with whole-word embeddings, which T5 does not have.
    """
    prompted, dataset = tested.prompted, tested.data.dataset
    c = prompted.model.config
    if c.word_rows:
        raise ConfigError(
            f"model.word_rows {c.word_rows} adds embeddings of whole words, which no class of "
            "transformers does; train with --model.word-rows 0 to export the run"
        )
    tokenizer = prompted.tokenizer
    written = c.vocab_size - c.read_only
    tokens = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
        "suppress_tokens": list(range(written, c.vocab_size)),
    }
    if not c.read_only:
        del tokens["suppress_tokens"]
    shape = dataclasses.replace(
        c,
        embedding_scale=1.0,
        query_scale=1.0,
        logit_scale=1.0,
        tie_embeddings=False,
        read_only=0,
    )
    model = Pretrained(
        spec=ModelSpec("encoder_decoder", shape),
        params={"params": _folded(prompted.params["params"], c, written)},
        tokens=tokens,
    )
    names = tested.data.names.items
    rows = [row | {"id": name} for row, name in zip(item_rows(codes, dataset), names, strict=True)]
    return Opened(model=model, tokenizer=tokenizer, items=rows)


def _folded(params: Any, c: Any, written: int) -> Any:
    """Parameters with the scales of embeddings, queries and logits multiplied in."""
    leaves = flatten_dict(params, sep="/")
    query_scale = c.query_scale or 1 / math.sqrt(c.head_width)
    for path, leaf in leaves.items():
        if path.endswith("/query/kernel"):
            leaves[path] = leaf * jnp.asarray(query_scale, leaf.dtype)
    table = leaves["embedding/table"]
    head = leaves["head/table"] if not c.tie_embeddings else table
    can_write = (jnp.arange(len(head)) < written)[:, None].astype(head.dtype)
    leaves["head/table"] = head * can_write * jnp.asarray(c.logit_scale, head.dtype)
    leaves["embedding/table"] = table * jnp.asarray(c.embedding_scale, table.dtype)
    return unflatten_dict(leaves, sep="/")
