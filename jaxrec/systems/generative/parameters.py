"""The parameters of a run: where training starts from, and what a trained run has.

Checkpoints do not hold frozen parameters, so a tuned run reads them from its base, which must stay
where it is. Every checkpoint holds the checksum of the base, and a changed base is refused.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError, make_mesh, quoted
from jaxrec.ids import ItemCodes
from jaxrec.models import Pretrained, checksum
from jaxrec.nn import TUNED
from jaxrec.peft import merged
from jaxrec.quant import dequantize_params
from jaxrec.runs import is_run, load_codes, run_identity
from jaxrec.systems.generative import text_base
from jaxrec.systems.generative.config import Config, load_config
from jaxrec.systems.generative.model import make_spec
from jaxrec.systems.generative.trainable import ROWS, shapes_of, split
from jaxrec.train import load_params, make_optimizer, make_shapes


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """What the training of a run starts from.

    Attributes:
      trainable: returns the trainable tree; None for the plan's own initialization.
      frozen: arrays of the frozen tree; None if everything is trained.
      base: name and checksum of the base that the frozen parameters come from; "" without any.
    """

    trainable: Callable[[], Any] | None = None
    frozen: Any = None
    base: str = ""


def load_start(config: Config, codes: ItemCodes) -> Start:
    """Read the base of a run, if it has one, and split it into trainable and frozen parameters.

    Raises:
      ConfigError: a base that does not match the run's settings.
      DataError: no base there, or a damaged one.
    """
    if not config.tune.base:
        return Start()
    key = jax.random.key(config.train.seed)
    if config.tune.method == "full":
        # Read only when it is asked for, because a run that resumes does not need it.
        return Start(lambda: _read_base(config, codes, key)[0])
    params, checksum = _read_base(config, codes, key)
    tuning = split(config, codes, key, params)
    trainable = nn.meta.unbox(tuning.trainable)
    return Start(lambda: trainable, tuning.frozen, f"{config.tune.base} (sha256 {checksum})")


def load_aligned(config: Config, codes: ItemCodes) -> tuple[Start, Any]:
    """Read the base of an aligned run: what training starts from, and the reference's variables.

    The reference is the model before the first step. It shares the frozen parameters.

    Raises:
      ConfigError, DataError: see `load_start`.
    """
    begun = load_start(config, codes)
    assert begun.trainable is not None
    trainable = begun.trainable()
    reference = shapes_of(config, codes).join(trainable, begun.frozen)
    # Training donates its arrays, and those of the reference stay.
    copied = dataclasses.replace(begun, trainable=lambda: jax.tree.map(jnp.copy, trainable))
    return copied, reference


def load_variables(config: Config, codes: ItemCodes, directory: Path) -> Any:
    """Return the model's variables at the best checkpoint, with frozen ones from the base.

    Raises:
      DataError: not trained yet, damaged, or a base that has changed since.
    """
    shapes = shapes_of(config, codes)
    target = make_shapes(
        shapes.trainable,
        make_optimizer(config.train),
        make_mesh(config.mesh),
        config.sharding,
        config.train,
    )
    begun = Start() if shapes.frozen is None else load_start(config, codes)
    place, run = directory / "checkpoints", run_identity(directory)
    trained, _ = load_params(place, target, begun.base, run)
    return shapes.join(trained, begun.frozen)


def merged_model(config: Config, codes: ItemCodes, directory: Path) -> Pretrained:
    """Return the best checkpoint of a run as a model with plain kernels.

    Raises:
      ConfigError: tuning that no kernel can hold, or a prefix decoder.
      DataError: see `load_variables`.
    """
    if config.architecture == "prefix":
        raise ConfigError(
            f"{directory} has architecture prefix, whose histories are attended to in both "
            "directions, and no exported decoder can do that; train architecture causal or "
            "encoder_decoder"
        )
    method = config.tune.method
    if method in ("adapter", "prefix", "prompt"):
        apart = "" if method == "adapter" else f": jaxrec export {quoted(directory)} --to peft"
        raise ConfigError(
            f"{directory} was tuned by tune.method {method}, whose parameters cannot be merged "
            f"into kernels; keep it beside its base{apart}"
        )
    variables = load_variables(config, codes, directory)
    model = Pretrained(spec=make_spec(config, codes), params={"params": variables["params"]})
    if TUNED in variables:
        model = merged(model, {TUNED: variables[TUNED]})
    params = {"params": dequantize_params(model.params["params"])}
    return dataclasses.replace(model, params=params)


def adapter(config: Config, codes: ItemCodes, directory: Path) -> tuple[Pretrained, dict[str, Any]]:
    """Return the base of a run with rows for the IDs, and what the best checkpoint adds to it.

    The latter is what `peft.save_peft` takes.

    Raises:
      ConfigError: a run that trained all parameters.
      DataError: see `load_variables`.
    """
    shapes = shapes_of(config, codes)
    if shapes.frozen is None:
        raise ConfigError(
            f"{directory} trained all parameters, so there is no adapter: jaxrec export "
            f"{directory} --to hf"
        )
    variables = load_variables(config, codes, directory)
    leaves = flatten_dict(variables["params"], sep="/")
    trees = [shapes.trainable.get(name, {}) for name in ("params", ROWS)]
    besides = {path: leaves[path] for tree in trees for path in flatten_dict(tree, sep="/")}
    params, _ = _read_base(config, codes, jax.random.key(config.train.seed))
    trained = {TUNED: variables[TUNED], "params": unflatten_dict(besides, sep="/")}
    return Pretrained(spec=make_spec(config, codes), params=params), trained


def _read_base(config: Config, codes: ItemCodes, key: jax.Array) -> tuple[Any, str]:
    """Read the parameters of the base, with rows for the IDs, and its checksum without them."""
    path = Path(config.tune.base)
    if is_run(path):
        original = model = merged_model(load_config(path), load_codes(path), path)
    else:
        original, model = text_base.load(path, codes, key)
    expected = make_spec(config, codes).flat_shapes()
    leaves = flatten_dict(model.params["params"], sep="/")
    for name in expected | leaves:
        shape = leaves[name].shape if name in leaves else None
        if shape != expected.get(name):
            raise ConfigError(
                f"{name} of tune.base {path} has shape {shape}, and the run's settings give "
                f"{expected.get(name)}; start from a base of that shape"
            )
    return model.params, checksum(original.params)
