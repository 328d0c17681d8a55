"""What is trained and what is not: the settings of a tuning, and a model split in two trees.

The trainable tree alone is differentiated, optimized and checkpointed. `variables` puts the trees
together again, inside the step, so no model knows that it is being tuned::

    tuning = start(key, spec.shapes(), params, config)
    loss = lambda trainable: objective(model, variables(trainable, tuning.frozen), batch)
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError, nearest
from jaxrec.nn import TUNED, KernelSpec, StoredKernel, kernel_specs
from jaxrec.peft import adapter, lora, prefix, prompt
from jaxrec.peft.names import find

Method = Literal["full", "lora", "qlora", "adapter", "prefix", "prompt"]
Placement = Literal["houlsby", "pfeiffer"]
PromptInit = Literal["random", "vocabulary", "text"]
Quantize = Callable[[Any, dict[str, KernelSpec]], Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """How a model is tuned; each method reads its own settings.

    Attributes:
      method: all parameters, LoRA, LoRA over a base in NF4, adapters, prefix or prompt tuning.
      base: path of the run or model to start from; "" for none.
      rank, alpha, rank_stabilized, dropout, targets: of LoRA, see `LoraConfig`.
      also: what is trained fully besides: ends of paths of parameters or of the modules that hold
        them ("embedding", "head", "norm", "mlp/up"), or whole paths.
      bottleneck: M, hidden width of an adapter.
      placement: adapters after every sub-layer (`houlsby`) or after the MLP alone (`pfeiffer`).
      virtual_tokens: P, of a prefix or a prompt.
      prefix_hidden: hidden width of the network that makes a prefix's keys and values; 0 to train
        these themselves.
      prefix_encoder: give the encoder of an encoder-decoder a prefix too.
      prompt_init: uniform numbers, embeddings of frequent tokens, or those of `prompt_text`.
      prompt_text: what a prompt starts as.
    """

    method: Method = "full"
    base: str = ""
    rank: int = 8
    alpha: float = 16.0
    rank_stabilized: bool = False
    dropout: float = 0.0
    targets: tuple[str, ...] = ("query", "value")
    also: tuple[str, ...] = ()
    bottleneck: int = 64
    placement: Placement = "houlsby"
    virtual_tokens: int = 20
    prefix_hidden: int = 512
    prefix_encoder: bool = False
    prompt_init: PromptInit = "vocabulary"
    prompt_text: str = ""

    def __post_init__(self) -> None:
        """Reject what the method cannot do."""
        choices = {"method": Method, "placement": Placement, "prompt_init": PromptInit}
        for name, literal in choices.items():
            value, known = getattr(self, name), get_args(literal)
            if value not in known:
                raise ConfigError(
                    f"tune.{name} must be one of {', '.join(known)}, got {value!r}"
                    f"{nearest(value, known)}"
                )
        for name, least in (("bottleneck", 1), ("virtual_tokens", 1), ("prefix_hidden", 0)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"tune.{name} must be at least {least}, got {getattr(self, name)}"
                )
        if self.method == "prompt" and (self.prompt_init == "text") != bool(self.prompt_text):
            raise ConfigError(
                f"tune.prompt_text {self.prompt_text!r} and tune.prompt_init {self.prompt_init!r} "
                "contradict each other; give a text exactly with prompt_init text"
            )
        if self.method == "full" and self.also:
            raise ConfigError(
                f"tune.also {self.also} names what is trained besides, and tune.method full trains "
                "everything; drop tune.also"
            )
        if self.method in ("lora", "qlora"):
            _ = self.lora

    @property
    def lora(self) -> lora.LoraConfig:
        """Settings of LoRA."""
        return lora.LoraConfig(
            rank=self.rank,
            alpha=self.alpha,
            rank_stabilized=self.rank_stabilized,
            dropout=self.dropout,
            targets=self.targets,
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tuning:
    """A model that is being tuned.

    Attributes:
      trainable: `{"params": ..., "tuned": ...}` as far as either has leaves, boxed with their axis
        names as `Module.init` gives them: what is differentiated, optimized and checkpointed.
      frozen: `{"params": ...}`, all other parameters, as they were given.
      virtual: P, virtual tokens that go in front of every sequence; 0 for none.
    """

    trainable: Any
    frozen: Any
    virtual: int = dataclasses.field(default=0, metadata={"static": True})


def start(
    key: jax.Array,
    boxed: Any,
    params: Any,
    config: TuneConfig,
    *,
    quantize: Quantize | None = None,
    prompt_start: jax.Array | None = None,
) -> Tuning:
    """Split a model and add what its tuning trains: it computes what it did before, or nearly so.

    Runs under `jax.eval_shape` too, for shapes and axis names without values.

    Args:
      key: random key of the new parameters.
      boxed: shapes of the model with their boxes on, as `ModelSpec.shapes` gives them.
      params: `{"params": ...}` of the base, without boxes.
      config: method and settings.
      quantize: for QLoRA over a base that is not quantized yet: from a "params" tree and the specs
        of its kernels to the tree with `StoredKernel`s.
      prompt_start: `[P, D]` of `prompt.vectors`, which a prompt starts from unless it is random.

    Returns:
      The two trees; `frozen` shares the arrays of `params`.

    Raises:
      ConfigError: names that fit no layer; names of kernels that are both updated and trained;
        `quantize` missing; `prompt_start` missing or of no use.
    """
    from_words = config.method == "prompt" and config.prompt_init != "random"
    if (prompt_start is not None) != from_words:
        raise ConfigError(
            f"tune.method {config.method} with tune.prompt_init {config.prompt_init} "
            f"{'needs' if from_words else 'has no use for'} prompt_start, see prompt.vectors"
        )
    held = flatten_dict(params["params"], sep="/", is_leaf=_is_stored)
    boxes = flatten_dict(boxed["params"], sep="/", is_leaf=lambda _, leaf: _is_box(leaf))
    chosen = _chosen(held, config)
    tuned = _tuned(key, boxed, config, prompt_start)
    for path in lora.updates(tuned) if config.method in ("lora", "qlora") else ():
        if twice := {f"{path}/kernel", f"{path}/table"} & chosen:
            raise ConfigError(
                f"{twice.pop()} is in tune.also, which trains all of it, and in tune.targets; name "
                "it in one of them"
            )
    trained = {path: _boxed(boxes[path], leaf) for path, leaf in held.items() if path in chosen}
    frozen = {path: leaf for path, leaf in held.items() if path not in chosen}
    kept = unflatten_dict(frozen, sep="/")
    if config.method == "qlora" and not any(map(_is_stored, held, held.values())):
        if quantize is None:
            raise ConfigError(
                "tune.method qlora needs a quantized base, or `quantize` for a plain one"
            )
        specs = {p: spec for p, spec in kernel_specs(boxed).items() if f"{p}/kernel" in frozen}
        kept = quantize(kept, specs)
    trainable = {
        "params": unflatten_dict(trained, sep="/"),
        TUNED: tuned,
    }
    return Tuning(
        trainable={name: tree for name, tree in trainable.items() if tree},
        frozen={"params": kept},
        virtual=config.virtual_tokens if config.method in ("prefix", "prompt") else 0,
    )


def _chosen(held: Any, config: TuneConfig) -> set[str]:
    """Paths of the base's parameters that are trained."""
    chosen = set(held) if config.method == "full" else find(held, config.also)
    if config.method == "adapter":
        chosen |= adapter.trained_besides(held)
    if stored := sorted(path for path in chosen if isinstance(held[path], StoredKernel)):
        raise ConfigError(
            f"{stored[0]} is quantized, and no gradient changes it; leave it out of tune.also, or "
            "tune another method than full"
        )
    return chosen


def _tuned(
    key: jax.Array, boxed: Any, config: TuneConfig, prompt_start: jax.Array | None
) -> dict[str, Any]:
    """The `TUNED` tree of a method."""
    if config.method in ("lora", "qlora"):
        return lora.init(key, boxed, config.lora)
    if config.method == "adapter":
        return adapter.init(key, boxed, config.bottleneck, config.placement)
    if config.method == "prefix":
        count, hidden = config.virtual_tokens, config.prefix_hidden
        return prefix.init(key, boxed, count, hidden, config.prefix_encoder)
    if config.method == "prompt":
        return prompt.init(key, boxed, config.virtual_tokens, prompt_start)
    return {}


def variables(trainable: Any, frozen: Any) -> Any:
    """What `Module.apply` takes: both trees, without boxes, joined leaf by leaf.

    The network of a prefix gives way to the table that it makes.
    """
    joined = _join(trainable, frozen)
    return {**joined, TUNED: prefix.export(joined[TUNED])} if TUNED in joined else joined


def _join(left: Any, right: Any) -> Any:
    shared = {name: _join(left[name], right[name]) for name in left if name in right}
    return {**left, **right, **shared}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """Numbers of parameters, and their bytes as they are stored."""

    trainable: int
    total: int
    trainable_bytes: int
    total_bytes: int

    def __str__(self) -> str:
        share = 100 * self.trainable / max(self.total, 1)
        return (
            f"{self.trainable:,} of {self.total:,} parameters trainable ({share:.2f} %), "
            f"{self.trainable_bytes / 2**20:.1f} of {self.total_bytes / 2**20:.1f} MiB"
        )


def size_of(tuning: Tuning) -> Size:
    """Count parameters, of arrays or of shapes, quantized kernels as what they stand for."""
    trainable, frozen = _count(tuning.trainable), _count(tuning.frozen)
    return Size(
        trainable=trainable[0],
        total=trainable[0] + frozen[0],
        trainable_bytes=trainable[1],
        total_bytes=trainable[1] + frozen[1],
    )


def _count(tree: Any) -> tuple[int, int]:
    nodes = jax.tree.leaves(
        nn.meta.unbox(tree), is_leaf=lambda leaf: isinstance(leaf, StoredKernel)
    )
    count = sum(math.prod(node.shape) for node in nodes)
    arrays = jax.tree.leaves(nodes)
    return count, sum(math.prod(a.shape) * a.dtype.itemsize for a in arrays)


def _is_box(leaf: Any) -> bool:
    return isinstance(leaf, nn.Partitioned)


def _is_stored(_: Any, leaf: Any) -> bool:
    return isinstance(leaf, StoredKernel)


def _boxed(box: Any, leaf: Any) -> Any:
    return box.replace_boxed(leaf) if _is_box(box) else leaf
