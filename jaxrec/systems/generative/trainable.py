"""Which parameters of a run's model are trained, and which are frozen.

A text model's rows for the tokens of the item IDs are new, so every method trains them. If their
table is frozen, they are cut off and become a trainable tree of their own.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.ids import ItemCodes
from jaxrec.models import ModelSpec, init_function
from jaxrec.nn import KernelSpec
from jaxrec.peft import Tuning, prompt, start, variables
from jaxrec.quant import CodebookConfig, box_params, quantize_params
from jaxrec.runs import is_run
from jaxrec.systems.generative import text_base
from jaxrec.systems.generative.config import Config
from jaxrec.systems.generative.model import knows_text, make_model, make_spec, origin, vocabulary
from jaxrec.train import all_trained

# The part of the trainable tree that holds the IDs' rows of frozen tables.
ROWS = "rows"
# A prompt starts from the most frequent tokens (Lester et al. 2021, section 3.1).
_FREQUENT = 5000


@dataclasses.dataclass(frozen=True, eq=False)
class Shapes:
    """A run's parameters without their values.

    Attributes:
      trainable: maps a key to the trainable tree; if a base gives the values, shapes. Both have
        axis names.
      frozen: shapes with axis names; None if everything is trained.
      join: maps both trees to the model's variables.
    """

    trainable: Any
    frozen: Any
    join: Callable[[Any, Any], Any]


def shapes_of(config: Config, codes: ItemCodes) -> Shapes:
    """Return the shapes of the trained and of the frozen parameters.

    Raises:
      ConfigError: a tuning that does not fit the model.
    """
    if not config.tune.base or config.tune.method == "full":
        return Shapes(init_function(make_model(config, codes)), None, all_trained)
    boxed = make_spec(config, codes).shapes()
    tuning = jax.eval_shape(
        functools.partial(split, config, codes), jax.random.key(0), nn.meta.unbox(boxed)
    )
    frozen = {"params": box_params(tuning.frozen["params"], boxed)}
    return Shapes(tuning.trainable, frozen, join)


def split(config: Config, codes: ItemCodes, key: jax.Array, params: Any) -> Tuning:
    """Split the parameters of a base, and add those that its tuning trains.

    Args:
      config: the config of the run.
      codes: its item IDs.
      key: random key of the new parameters.
      params: `{"params": ...}` of the base, with rows for the IDs; QLoRA deletes what it quantizes.

    Raises:
      ConfigError: see `peft.start`.
    """
    spec = make_spec(config, codes)
    boxed = spec.shapes()
    tuning = start(
        key,
        boxed,
        params,
        config.tune,
        quantize=_quantize,
        prompt_start=_prompt_start(config, codes, key, spec, params),
    )
    if is_run(Path(config.tune.base)):
        return tuning
    first, rows = vocabulary(config, codes).num_special, {}
    frozen = flatten_dict(tuning.frozen["params"], sep="/")
    for path in text_base.TABLES:
        if path in frozen:
            rows[path], frozen[path] = frozen[path][first:], frozen[path][:first]
    boxed_rows = box_params(unflatten_dict(rows, sep="/"), boxed)
    return dataclasses.replace(
        tuning,
        trainable=tuning.trainable | ({ROWS: boxed_rows} if rows else {}),
        frozen={"params": unflatten_dict(frozen, sep="/")},
    )


def join(trainable: Any, frozen: Any) -> Any:
    """Return the model's variables, with the IDs' rows back in their tables."""
    rest = {name: tree for name, tree in trainable.items() if name != ROWS}
    joined = variables(rest, frozen)
    if ROWS not in trainable:
        return joined
    params = flatten_dict(joined["params"], sep="/")
    for path, rows in flatten_dict(trainable[ROWS], sep="/").items():
        params[path] = jnp.concatenate([params[path], rows])
    return joined | {"params": unflatten_dict(params, sep="/")}


def _quantize(params: Any, specs: Mapping[str, KernelSpec]) -> Any:
    """Store all kernels of the blocks as QLoRA does: NF4 in blocks of 64, with quantized scales."""
    return quantize_params(params, specs, CodebookConfig(), free=True)


def _prompt_start(
    config: Config, codes: ItemCodes, key: jax.Array, spec: ModelSpec, params: Any
) -> jax.Array | None:
    """Return the vectors that a prompt starts from: those of text tokens, or else of the IDs."""
    tune = config.tune
    if tune.method != "prompt" or tune.prompt_init == "random":
        return None
    words = vocabulary(config, codes)
    if tune.prompt_init == "vocabulary":
        # Tokenizers number their tokens roughly by decreasing frequency.
        text = jnp.arange(min(_FREQUENT, words.num_special), dtype=jnp.int32)
        ids = jnp.arange(words.num_special, words.size, dtype=jnp.int32)
        tokens = text if knows_text(words) else ids
    elif knows_text(words):
        _, tokenizer = origin(config, codes)
        tokens = jnp.asarray(tokenizer.encode(tune.prompt_text, add_special_tokens=False))
    else:
        raise ConfigError(
            f"tune.base {tune.base} has no tokens of text, so a prompt cannot start from "
            f"tune.prompt_text {tune.prompt_text!r}; set tune.prompt_init to vocabulary or random"
        )
    random = tune.prompt_init == "vocabulary"
    return prompt.vectors(
        jax.random.fold_in(key, 1), spec, params, tune.virtual_tokens, tokens, random
    )
