"""Tuning: its settings, and the split of a model into a trainable and a frozen tree.

Only the trainable tree is differentiated, optimized and checkpointed. `variables` joins the trees
inside the training step, so models contain no code for tuning::

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

from jaxrec.core import ConfigError, Count, Positive, Rate, Whole, check_ranges, nearest
from jaxrec.nn import TUNED, KernelSpec, StoredKernel, kernel_specs
from jaxrec.peft import adapter, lora, prefix, prompt, prompt_encoder
from jaxrec.peft.names import find

Method = Literal["full", "lora", "qlora", "adapter", "prefix", "prompt"]
Placement = Literal["houlsby", "pfeiffer"]
PromptInit = Literal["random", "vocabulary", "text"]
PromptEncoder = prompt_encoder.Encoder
Quantize = Callable[[Any, dict[str, KernelSpec]], Any]
# They compute what a model reads, and only during training.
_NETWORKS = (prefix.PrefixNetwork, prompt_encoder.PromptNetwork)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """How a model is tuned; each method reads its own settings.

    Attributes:
      method: "full" trains all parameters, "lora" LoRA updates, "qlora" LoRA updates over an NF4
        base, "adapter" bottleneck adapters, "prefix" and "prompt" virtual tokens.
      base: path of the run or model to start from; "" for none.
      rank, alpha, rank_stabilized, dropout, targets: settings of LoRA, see `LoraConfig`.
      also: parameters that are trained in full in addition: paths of parameters or modules, or ends
        of such paths ("embedding", "head", "norm", "mlp/up").
      bottleneck: M, hidden width of an adapter.
      placement: adapters after every sub-layer ("houlsby") or after the MLP only ("pfeiffer").
      virtual_tokens: P, number of virtual tokens of a prefix or prompt.
      prefix_hidden: hidden width of the network that computes the keys and values of a prefix; 0
        trains the keys and values themselves.
      prefix_encoder: give the encoder of an encoder-decoder a prefix too.
      prompt_init: a prompt starts from "random" uniform numbers, from embeddings of frequent tokens
        of the "vocabulary", or from the embeddings of `prompt_text` ("text").
      prompt_text: initial text of a prompt; only with prompt_init "text".
      prompt_encoder: P-tuning's network, which computes the prompt during training: "lstm", "mlp",
        or "none" to train the vectors themselves. The network reads what `prompt_init` says, where
        "random" means standard normal numbers. Only with method "prompt".
      prompt_hidden: hidden width of that network; 0 for the width that the paper gives it.

    Raises:
      ConfigError: a value out of range, or values that contradict one another.

    Example:
      >>> config = TuneConfig(method="lora", rank=4, targets=("query", "mlp/up"), also=("norm",))
      >>> config.lora.scale
      4.0
    """

    method: Method = "full"
    base: str = ""
    rank: Count = 8
    alpha: Positive = 16.0
    rank_stabilized: bool = False
    dropout: Rate = 0.0
    targets: tuple[str, ...] = ("query", "value")
    also: tuple[str, ...] = ()
    bottleneck: Count = 64
    placement: Placement = "houlsby"
    virtual_tokens: Count = 20
    prefix_hidden: Whole = 512
    prefix_encoder: bool = False
    prompt_init: PromptInit = "vocabulary"
    prompt_text: str = ""
    prompt_encoder: PromptEncoder = "none"
    prompt_hidden: Whole = 0

    def __post_init__(self) -> None:
        """Reject values out of range and settings that the method cannot use."""
        choices = {
            "method": Method,
            "placement": Placement,
            "prompt_init": PromptInit,
            "prompt_encoder": PromptEncoder,
        }
        for name, literal in choices.items():
            value, known = getattr(self, name), get_args(literal)
            if value not in known:
                raise ConfigError(
                    f"tune.{name} must be one of {', '.join(known)}, got {value!r}"
                    f"{nearest(value, known)}"
                )
        check_ranges(self, "--tune.")
        if self.method == "prompt" and (self.prompt_init == "text") != bool(self.prompt_text):
            raise ConfigError(
                f"tune.prompt_text {self.prompt_text!r} and tune.prompt_init {self.prompt_init!r} "
                "contradict each other; give a text if and only if prompt_init is text"
            )
        if self.method != "prompt" and self.prompt_encoder != "none":
            raise ConfigError(
                f"tune.prompt_encoder {self.prompt_encoder} computes the vectors of a prompt, and "
                f"tune.method is {self.method}; set tune.method prompt, or tune.prompt_encoder none"
            )
        if self.method == "full" and self.also:
            raise ConfigError(
                f"tune.also {self.also} has no effect, because tune.method full trains everything; "
                "remove tune.also"
            )
        if self.method in ("lora", "qlora"):
            _ = self.lora

    @property
    def lora(self) -> lora.LoraConfig:
        """The settings of LoRA."""
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
      trainable: `{"params": ..., "tuned": ...}`, boxed with axis names as `Module.init` returns
        them: the leaves that are differentiated, optimized and checkpointed. An empty tree is left
        out.
      frozen: `{"params": ...}`, all other parameters, unchanged.
      virtual: P, number of virtual tokens in front of every sequence; 0 for none.
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
    """Split a model into trainable and frozen parameters and add the parameters of the method.

    With LoRA the outputs do not change, with adapters hardly. Works under `jax.eval_shape`, for
    shapes and axis names without values.

    Args:
      key: random key of the new parameters.
      boxed: shapes of the model with their boxes on, as `ModelSpec.shapes` gives them.
      params: `{"params": ...}` of the base, without boxes.
      config: method and settings.
      quantize: quantizes the base for QLoRA, unless it is already quantized: maps a "params" tree
        and the specs of its kernels to the tree with `StoredKernel`s.
      prompt_start: `[P, D]` initial vectors of a prompt, from `prompt.vectors`; None for other
        methods and for prompt_init "random".

    Returns:
      The two trees; `frozen` shares the arrays of `params`.

    Raises:
      ConfigError: a name matches no layer; a kernel is both updated by LoRA and trained in full;
        `quantize` is missing; or `prompt_start` is missing or cannot be used.

    Example:
      >>> from jaxrec.models import ModelSpec
      >>> from jaxrec.testing import random_params, tiny_model
      >>> spec = ModelSpec("causal", tiny_model())
      >>> params = random_params(spec.build())
      >>> config = TuneConfig(method="lora", rank=2)
      >>> tuning = start(jax.random.key(0), spec.shapes(), params, config)
      >>> sorted(tuning.trainable), size_of(tuning).trainable
      (['tuned'], 128)
    """
    from_words = config.method == "prompt" and config.prompt_init != "random"
    if (prompt_start is not None) != from_words:
        raise ConfigError(
            f"tune.method {config.method} with tune.prompt_init {config.prompt_init} "
            f"{'needs' if from_words else 'cannot use'} prompt_start, see peft.prompt.vectors"
        )
    held = flatten_dict(params["params"], sep="/", is_leaf=_is_stored)
    boxes = flatten_dict(boxed["params"], sep="/", is_leaf=lambda _, leaf: _is_box(leaf))
    chosen = _chosen(held, config)
    tuned = _tuned(key, boxed, config, prompt_start)
    for path in lora.updates(tuned) if config.method in ("lora", "qlora") else ():
        if twice := {f"{path}/kernel", f"{path}/table"} & chosen:
            raise ConfigError(
                f"{twice.pop()} is named by tune.also, which trains it in full, and by "
                "tune.targets, which updates it by LoRA; name it in only one of them"
            )
    trained = {path: _boxed(boxes[path], leaf) for path, leaf in held.items() if path in chosen}
    frozen = {path: leaf for path, leaf in held.items() if path not in chosen}
    kept = unflatten_dict(frozen, sep="/")
    if config.method == "qlora" and not any(map(_is_stored, held, held.values())):
        if quantize is None:
            raise ConfigError(
                "tune.method qlora needs a quantized base, or `quantize` to quantize the given base"
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
    """Return the paths of the base's parameters that are trained in full."""
    chosen = set(held) if config.method == "full" else find(held, config.also)
    if config.method == "adapter":
        chosen |= adapter.trained_besides(held)
    if stored := sorted(path for path in chosen if isinstance(held[path], StoredKernel)):
        raise ConfigError(
            f"{stored[0]} is quantized and cannot be trained; leave it out of tune.also, or choose "
            "another tune.method than full"
        )
    return chosen


def _tuned(
    key: jax.Array, boxed: Any, config: TuneConfig, prompt_start: jax.Array | None
) -> dict[str, Any]:
    """Create the `TUNED` tree of a method."""
    if config.method in ("lora", "qlora"):
        return lora.init(key, boxed, config.lora)
    if config.method == "adapter":
        return adapter.init(key, boxed, config.bottleneck, config.placement)
    if config.method == "prefix":
        count, hidden = config.virtual_tokens, config.prefix_hidden
        return prefix.init(key, boxed, count, hidden, config.prefix_encoder)
    if config.method == "prompt" and config.prompt_encoder != "none":
        return prompt_encoder.init(
            key,
            boxed,
            config.virtual_tokens,
            config.prompt_encoder,
            config.prompt_hidden,
            prompt_start,
        )
    if config.method == "prompt":
        return prompt.init(key, boxed, config.virtual_tokens, prompt_start)
    return {}


def variables(trainable: Any, frozen: Any) -> Any:
    """Join the two trees of a tuning into the variables that `Module.apply` takes.

    The network of a prefix or prompt is replaced by the table that it computes.

    Args:
      trainable: `Tuning.trainable` without boxes.
      frozen: `Tuning.frozen`.

    Example:
      >>> trainable = {"params": {"norm": {"scale": 2.0}}}
      >>> variables(trainable, {"params": {"up": {"kernel": 3.0}}})
      {'params': {'norm': {'scale': 2.0}, 'up': {'kernel': 3.0}}}
    """
    joined = _join(trainable, frozen)
    return {**joined, TUNED: without_networks(joined[TUNED])} if TUNED in joined else joined


def without_networks(tuned: Any) -> Any:
    """Replace the networks in a `TUNED` tree by the prefixes and prompts that they compute.

    Args:
      tuned: the tree, without boxes.
    """
    return jax.tree.map(
        lambda node: node.table() if isinstance(node, _NETWORKS) else node,
        tuned,
        is_leaf=lambda node: isinstance(node, _NETWORKS),
    )


def _join(left: Any, right: Any) -> Any:
    shared = {name: _join(left[name], right[name]) for name in left if name in right}
    return {**left, **right, **shared}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """Numbers of parameters, and the bytes that they occupy."""

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
    """Count parameters and bytes; a quantized kernel counts as the array that it replaces."""
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
