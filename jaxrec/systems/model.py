"""The model of a run: its shape, what of it is trained, and its variables.

A run without `tune.base` trains a decoder from scratch. One with it starts from another model, and
may train a part of it alone: the rest is read from the base each time, and kept nowhere else. A run
as a base has item IDs already, which must be these. A text model is given them as tokens, whose
rows of the tables are always trained, though the rest of the tables be frozen.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.core.mesh import box_like, describe_shardings, make_mesh
from jaxrec.data.tokenizers import add_id_tokens, id_tokenizer
from jaxrec.ids import BOS, PAD, IdVocabulary, ItemCodes
from jaxrec.models import CausalLM, ModelSpec, Pretrained
from jaxrec.nn import TUNED
from jaxrec.objectives import Loss, id_loss
from jaxrec.peft import Tuning, merge, start, variables
from jaxrec.quant import box_params
from jaxrec.systems import run, text_base
from jaxrec.systems.config import Config
from jaxrec.train import Plan, all_trained, load_params, make_optimizer, make_plan, make_shapes

METRIC = "ndcg@10"
# Collection of the trainable tree that holds the IDs' rows of otherwise frozen tables.
ROWS = "rows"
# What training alone reads, so that it may differ from the base's.
_OWN = ("dropout", "attention_dropout", "mlp_dropout", "dtype", "remat")


def resolve(config: Config) -> Config:
    """The config with the shape of the model that it starts from; the same where there is no base.

    Raises:
      ConfigError: a base that no recommender can start from.
      DataError: no base there.
    """
    if not config.tune.base:
        return config
    path = Path(config.tune.base)
    if run.exists(path):
        theirs, codes = run.load_config(path), run.load_codes(path)
        shape, special = make_model(theirs, codes).config, vocabulary(theirs, codes).num_special
    else:
        model, tokenizer = text_base.describe(path)
        shape, special = model.spec.config, text_base.text_tokens(tokenizer)
    own = {name: getattr(config.model, name) for name in _OWN}
    return dataclasses.replace(config, model=dataclasses.replace(shape, vocab_size=special, **own))


def vocabulary(config: Config, codes: ItemCodes) -> IdVocabulary:
    """Token numbers of the IDs; those of a text model come before them."""
    if not config.tune.base:
        return IdVocabulary(codes.sizes)
    return IdVocabulary(codes.sizes, config.model.vocab_size)


def make_model(config: Config, codes: ItemCodes) -> CausalLM:
    """Build the decoder of a resolved config.

    Raises:
      ConfigError: a base whose table of positions is too short.
    """
    length = 1 + (config.max_items + 1) * codes.levels
    shape = config.model
    if config.tune.base and shape.positions == "learned" and shape.max_length < length:
        raise ConfigError(
            f"tune.base {config.tune.base} has {shape.max_length} positions, and max_items "
            f"{config.max_items} with IDs of {codes.levels} codes take {length}; lower max_items"
        )
    return CausalLM(
        dataclasses.replace(
            shape,
            vocab_size=vocabulary(config, codes).size,
            max_length=max(shape.max_length, length),
        )
    )


def check_items(config: Config, rows: list[dict[str, str]]) -> None:
    """Check that a run that is the base gives the items these IDs.

    Args:
      config: of the run to be.
      rows: its item <-> ID map, see `item_ids.item_rows`.

    Raises:
      ConfigError: naming the first difference.
    """
    path = Path(config.tune.base)
    if not config.tune.base or not run.exists(path):
        return
    theirs = {row["item"]: row["id"] for row in run.read_json(path / "ids" / "item_ids.json")}
    ours = {row["item"]: row["id"] for row in rows}
    fix = "give the same data and ids settings, or another tune.base"
    if len(theirs) != len(ours):
        raise ConfigError(
            f"tune.base {path} has {len(theirs):,} items, and the data have {len(ours):,}; {fix}"
        )
    for item, code in ours.items():
        if theirs.get(item) != code:
            there = f"as {theirs[item]}" if item in theirs else "not at all"
            raise ConfigError(
                f"tune.base {path} knows item {item} {there}, and here its ID is {code}; {fix}"
            )


def plan_training(config: Config, codes: ItemCodes) -> Plan:
    """Compile the training step of a run, allocating nothing of the model's size.

    Raises:
      ConfigError: settings that fit neither the model nor the devices.
      ResourceError: see `make_plan`.
    """
    model, words = make_model(config, codes), vocabulary(config, codes)

    def loss(params: Any, batch: Any, key: jax.Array) -> Loss:
        return id_loss(model, params, batch["tokens"], key, vocabulary=words)

    length = 1 + config.max_items * codes.levels
    batch = {"tokens": jax.ShapeDtypeStruct((config.train.batch_size, length), jnp.int32)}
    tree, frozen, join = _shapes(config, codes)
    return make_plan(
        tree,
        loss,
        batch,
        config.train,
        frozen=frozen,
        join=join,
        mesh_config=config.mesh,
        rules=config.sharding,
    )


def show_shardings(config: Config, codes: ItemCodes) -> str:
    """Where every parameter of a run lies, see `describe_shardings`; trained ones first.

    Raises:
      ConfigError: settings that fit neither the model nor the devices.
    """
    trained, frozen, _ = _shapes(config, codes)
    if callable(trained):
        trained = jax.eval_shape(trained, jax.random.key(0))
    mesh, shown = make_mesh(config.mesh), []
    for name, tree in (("trained", trained), ("frozen", frozen)):
        if tree is not None:
            shown.append(f"{name}\n{describe_shardings(tree, mesh, config.sharding)}")
    return "\n".join(shown)


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """What a run begins with.

    Attributes:
      trainable: gives the trainable tree; None for the plan's own initialization.
      frozen: arrays of the frozen tree; None where all is trained.
      base: what the frozen parameters are, by name and checksum; "" where there are none.
    """

    trainable: Callable[[], Any] | None = None
    frozen: Any = None
    base: str = ""


def load_start(config: Config, codes: ItemCodes) -> Start:
    """Read the base of a run, if it has one, and split it.

    Raises:
      ConfigError, DataError: a base that is not there, or not what the run's settings say.
    """
    if not config.tune.base:
        return Start()
    key = jax.random.key(config.train.seed)
    if config.tune.method == "full":
        # Read when it is asked for: a run that resumes has no need of it.
        return Start(lambda: _read_base(config, codes, key)[1])
    original, params = _read_base(config, codes, key)
    tuning = _split(config, codes, key, params)
    trainable = nn.meta.unbox(tuning.trainable)
    base = f"{config.tune.base} (sha256 {_checksum(original)})"
    return Start(lambda: trainable, tuning.frozen, base)


def load_variables(config: Config, codes: ItemCodes, directory: Path) -> Any:
    """The model's variables of the best checkpoint, frozen ones read from the base.

    Raises:
      DataError: not trained yet, damaged, or a base that has changed since.
    """
    tree, frozen, join = _shapes(config, codes)
    mesh, rules = make_mesh(config.mesh), config.sharding
    target = make_shapes(tree, make_optimizer(config.train), mesh, rules, config.train)
    begun = Start() if frozen is None else load_start(config, codes)
    trained, _ = load_params(directory / "checkpoints", METRIC, target, begun.base)
    return join(trained, begun.frozen)


def merged_model(config: Config, codes: ItemCodes, directory: Path) -> tuple[Pretrained, Any]:
    """The best checkpoint of a run as a model without tuning, and the tokenizer of its IDs.

    Raises:
      ConfigError: tuning that no kernel can hold.
      DataError: as of `load_variables`.
    """
    spec = ModelSpec("causal", make_model(config, codes).config)
    found = load_variables(config, codes, directory)
    params = found["params"]
    if TUNED in found:
        params = merge(params, found[TUNED], spec)
    described, tokenizer = _origin(config, codes)
    return dataclasses.replace(described, spec=spec, params={"params": params}), tokenizer


def _origin(config: Config, codes: ItemCodes) -> tuple[Pretrained, Any]:
    """The text model that a run goes back to, or one of IDs alone; a tokenizer with the IDs."""
    path = Path(config.tune.base)
    if not config.tune.base:
        spec = ModelSpec("causal", make_model(config, codes).config)
        special = {"pad_token_id": PAD, "bos_token_id": BOS}
        return Pretrained(spec, None, None, special), id_tokenizer(codes.sizes)
    if run.exists(path):
        return _origin(run.load_config(path), codes)
    described, tokenizer = text_base.describe(path)
    add_id_tokens(tokenizer, codes.sizes)
    return described, tokenizer


def _read_base(config: Config, codes: ItemCodes, key: jax.Array) -> tuple[Any, Any]:
    """Parameters of the base as they are kept, and as the run has them: with rows for the IDs."""
    path = Path(config.tune.base)
    if run.exists(path):
        model, _ = merged_model(run.load_config(path), run.load_codes(path), path)
        original = params = model.params
    else:
        original, params = (model.params for model in text_base.load(path, codes, key))
    expected = ModelSpec("causal", make_model(config, codes).config).flat_shapes()
    found = {name: leaf.shape for name, leaf in flatten_dict(params["params"], sep="/").items()}
    for name in expected | found:
        if found.get(name) != expected.get(name):
            raise ConfigError(
                f"{name} of tune.base {path} has shape {found.get(name)}, and the run's settings "
                f"give {expected.get(name)}; start from a base of that shape"
            )
    return original, params


def _shapes(config: Config, codes: ItemCodes) -> tuple[Any, Any, Callable[[Any, Any], Any]]:
    """Trainable and frozen shapes with their axis names, and what joins them."""
    boxed = ModelSpec("causal", make_model(config, codes).config).shapes()
    if not config.tune.base or config.tune.method == "full":
        return init_function(make_model(config, codes)), None, all_trained
    tuning = jax.eval_shape(
        functools.partial(_split, config, codes), jax.random.key(0), nn.meta.unbox(boxed)
    )
    frozen = {"params": box_params(tuning.frozen["params"], boxed)}
    return tuning.trainable, frozen, _join


def init_function(model: CausalLM) -> Callable[[jax.Array], Any]:
    """From a key to the model's variables, with their axis names."""
    example = jnp.zeros((1, 2), jnp.int32)
    return lambda key: model.init(key, example, example == 0)


def _split(config: Config, codes: ItemCodes, key: jax.Array, params: Any) -> Tuning:
    """`peft.start`, with the IDs' rows of a text model's frozen tables made trainable."""
    boxed = ModelSpec("causal", make_model(config, codes).config).shapes()
    tuning = start(key, boxed, params, config.tune)
    if run.exists(Path(config.tune.base)):
        return tuning
    first, rows = config.model.vocab_size, {}
    frozen = flatten_dict(tuning.frozen["params"], sep="/")
    for path in text_base.TABLES:
        if path in frozen:
            rows[path], frozen[path] = frozen[path][first:], frozen[path][:first]
    boxed_rows = box_like(unflatten_dict(rows, sep="/"), boxed["params"])
    return dataclasses.replace(
        tuning,
        trainable=tuning.trainable | ({ROWS: boxed_rows} if rows else {}),
        frozen={"params": unflatten_dict(frozen, sep="/")},
    )


def _join(trainable: Any, frozen: Any) -> Any:
    """The model's variables, tables whole."""
    rest = {name: tree for name, tree in trainable.items() if name != ROWS}
    found = variables(rest, frozen)
    if ROWS not in trainable:
        return found
    params = flatten_dict(found["params"], sep="/")
    for path, rows in flatten_dict(trainable[ROWS], sep="/").items():
        params[path] = jnp.concatenate([params[path], rows])
    return found | {"params": unflatten_dict(params, sep="/")}


def _checksum(params: Any) -> str:
    """SHA-256 of names, shapes, dtypes and values."""
    found = hashlib.sha256()
    for path, leaf in sorted(flatten_dict(params, sep="/").items()):
        array = np.asarray(leaf)
        found.update(f"{path} {array.shape} {array.dtype}".encode())
        found.update(np.ascontiguousarray(array.reshape(-1)).view(np.uint8).data)
    return found.hexdigest()
