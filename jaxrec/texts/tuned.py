"""A causal text model that a run tunes: a pretrained one, or a small one from scratch."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.core import ConfigError, DataError, MeshConfig, ShardingRules, make_mesh
from jaxrec.data import load_tokenizer, save_tokenizer, train_bpe
from jaxrec.models import CausalLM, ModelSpec, Opened, TransformerConfig, checksum, init_function
from jaxrec.nn import TUNED
from jaxrec.peft import (
    TuneConfig,
    Tuning,
    prompt,
    size_of,
    start,
    variables,
    virtual_of,
    without_networks,
)
from jaxrec.quant import CodebookConfig, quantize_params
from jaxrec.runs import DescribedData, create_run, open_any, run_identity
from jaxrec.train import (
    Plan,
    TrainConfig,
    all_trained,
    load_params,
    make_optimizer,
    make_plan,
    make_shapes,
)

_TOKENIZER = "tokenizer"
# A prompt starts from tokens among the most frequent ones (Lester et al. 2021, section 3.1).
_FREQUENT = 5000


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TextModel:
    """A text model split into what is trained and what is not.

    Attributes:
      spec: kind and shape.
      tokenizer: of transformers.
      trainable: shapes of the trained parameters, with axis names.
      start: makes the arrays that training begins with, a new copy each time.
      frozen: arrays of the other parameters; None if all are trained.
      base: name and checksum of the model that the frozen arrays come from; "" for none.
    """

    spec: ModelSpec
    tokenizer: Any
    trainable: Any
    start: Callable[[], Any]
    frozen: Any
    base: str = ""

    @property
    def model(self) -> CausalLM:
        """The module."""
        return self.spec.build()

    @functools.cached_property
    def kept(self) -> Any:
        """Shapes of what training changes or adds and what is kept of it, without axis names.

        Networks that compute a prefix or prompt are dropped after training.
        """
        trained = dict(nn.meta.unbox(self.trainable))
        if TUNED in trained:
            trained[TUNED] = jax.eval_shape(without_networks, trained[TUNED])
        return trained

    @property
    def virtual(self) -> int:
        """P, number of virtual tokens that stand in front of every text; 0 for none."""
        return virtual_of({"params": {}, **self.kept}).read

    @property
    def tuned_percent(self) -> float:
        """Parameters that are changed or added and kept, in percent of those of the base."""
        base = Tuning(self.trainable.get("params", {}), self.frozen or {})
        return 100 * size_of(Tuning(self.kept, {})).trainable / size_of(base).total

    def plan(self, loss: Any, example: Any, config: TrainConfig) -> Plan:
        """Plan a training step; see `make_plan`."""
        join = all_trained if self.frozen is None else variables
        return make_plan(self.trainable, loss, example, config, frozen=self.frozen, join=join)

    def variables(self, trainable: Any) -> Any:
        """Join trained and frozen parameters as the module's `apply` takes them."""
        return trainable if self.frozen is None else variables(trainable, self.frozen)

    def untuned(self) -> Any:
        """The variables of the model before its tuning, without any parameters that it adds."""
        joined = self.variables(self.start())
        return {name: tree for name, tree in joined.items() if name != TUNED}

    def trained(self, directory: Path, config: TrainConfig, run: Mapping[str, str]) -> Any:
        """Read the trained parameters of the best checkpoint below `directory`.

        Only shapes are needed, so nothing is compiled.

        Args:
          directory: of the training.
          config: of that training.
          run: identity of its run, from `run_identity`.

        Raises:
          DataError: the run is not trained yet or damaged, or its base has changed since.
        """
        mesh, rules = make_mesh(MeshConfig()), ShardingRules()
        target = make_shapes(self.trainable, make_optimizer(config), mesh, rules, config)
        return load_params(directory / "checkpoints", target, self.base, run)[0]

    def save(self, directory: Path) -> None:
        """Write the tokenizer of a model from scratch; that of a base is read from the base."""
        if not self.base:
            save_tokenizer(self.tokenizer, directory / _TOKENIZER)

    def create_run(self, config: Any, data: DescribedData, directory: Path) -> None:
        """Create the directory of a run that begins with this model, see `runs.create_run`.

        Args:
          config: of the run.
          data: what the run is trained and measured on.
          directory: of the run.

        Raises:
          ConfigError: the directory's name is not UTF-8.
          ResourceError: it cannot be written.
        """
        self.save(directory)
        create_run(config, data, None, directory)

    def best(self, directory: Path, config: TrainConfig) -> Any:
        """Read the variables of a run's best checkpoint, as the module's `apply` takes them.

        Raises:
          DataError: see `trained`.
        """
        return self.variables(self.trained(directory, config, run_identity(directory)))

    @classmethod
    def load(
        cls, tune: TuneConfig, shape: TransformerConfig, directory: Path, seed: int
    ) -> "TextModel":
        """Open the model that a run began with.

        Raises:
          ConfigError, DataError: the base, or a file of the run, cannot be read.
        """
        if tune.base:
            return from_base(tune, seed)
        return cls.load_scratch(shape, directory, seed)

    @classmethod
    def load_scratch(cls, shape: TransformerConfig, directory: Path, seed: int) -> "TextModel":
        """Open the model that a run without a base began with.

        Raises:
          DataError: the run's tokenizer is missing or damaged.
        """
        return _begin(shape, load_tokenizer(directory / _TOKENIZER), seed)


def from_scratch(
    shape: TransformerConfig,
    texts: Sequence[str],
    vocab_size: int,
    words: Sequence[str],
    seed: int,
) -> TextModel:
    """Make a model with random parameters, and train a byte-level BPE tokenizer for it.

    Args:
      shape: of the model; its vocabulary becomes that of the tokenizer.
      texts: what the tokenizer is trained on.
      vocab_size: size of the tokenizer without `words`.
      words: texts that become one token each, such as quoted titles. A title that two items share
        is one token.
      seed: seed of the parameters.
    """
    tokenizer = train_bpe(texts, vocab_size)
    tokenizer.add_tokens(list(dict.fromkeys(words)))
    return _begin(shape, tokenizer, seed)


def reads_text(tokenizer: Any) -> bool:
    """Whether a tokenizer can encode words that are not tokens.

    The tokenizer of a recommender that was trained from scratch has item IDs alone, and no token
    for what is unknown.

    Args:
      tokenizer: of transformers.

    Example:
      >>> reads_text(train_bpe(["a film"], 260))
      True
    """
    try:
        tokenizer(["a film"])
    except Exception:  # the tokenizers library raises no narrower type
        return False
    return True


def open_base(tune: TuneConfig) -> Opened:
    """Open the run or model that a tuning starts from.

    Raises:
      DataError: there is nothing at `tune.base`; otherwise see `open_any`.
    """
    if not Path(tune.base).exists():
        raise DataError(
            f"tune.base {tune.base} does not exist; train that run first, or give the directory of "
            "another run or model"
        )
    return open_any(Path(tune.base))


def from_base(tune: TuneConfig, seed: int) -> TextModel:
    """Read a text model and add the parameters that its tuning trains.

    Raises:
      ConfigError: the base is not a causal model, or has no tokenizer beside it.
      DataError: there is no model at `tune.base`.
    """
    opened = open_base(tune)
    spec = opened.model.spec
    if spec.kind != "causal" or opened.tokenizer is None:
        raise ConfigError(
            f"tune.base {tune.base} is a model of kind {spec.kind}"
            f"{'' if opened.tokenizer else ' without a tokenizer'}; it must be a causal language "
            "model with a tokenizer beside it"
        )
    if not reads_text(opened.tokenizer):
        raise ConfigError(
            f"tune.base {tune.base} has a tokenizer that cannot read text, such as that of a "
            "recommender trained from scratch, which knows only item IDs; give a text model as "
            "tune.base"
        )
    params = opened.model.params
    base = f"{tune.base} (sha256 {checksum(params)})"

    def quantize(params: Any, specs: Any) -> Any:
        return quantize_params(params, specs, CodebookConfig(), free=True)

    key = jax.random.key(seed)
    tuning = start(
        key,
        spec.shapes(),
        params,
        tune,
        quantize=quantize,
        prompt_start=_prompt_start(tune, opened, jax.random.fold_in(key, 1)),
    )
    arrays = nn.meta.unbox(tuning.trainable)
    shapes = jax.eval_shape(lambda: tuning.trainable)
    # Training donates the arrays that it begins with, so each start gets a copy.
    return TextModel(
        spec=spec,
        tokenizer=opened.tokenizer,
        trainable=shapes,
        start=lambda: _copy(arrays),
        frozen=tuning.frozen,
        base=base,
    )


def _begin(shape: TransformerConfig, tokenizer: Any, seed: int) -> TextModel:
    spec = ModelSpec("causal", dataclasses.replace(shape, vocab_size=len(tokenizer)))
    init, key = init_function(spec.build()), jax.random.key(seed)
    return TextModel(
        spec=spec,
        tokenizer=tokenizer,
        trainable=jax.eval_shape(init, key),
        start=lambda: nn.meta.unbox(jax.jit(init)(key)),
        frozen=None,
    )


def _prompt_start(tune: TuneConfig, opened: Opened, key: jax.Array) -> jax.Array | None:
    """Return the vectors that a prompt starts from; None if it starts from random numbers."""
    if tune.method != "prompt" or tune.prompt_init == "random":
        return None
    model, tokenizer = opened.model, opened.tokenizer
    random = tune.prompt_init == "vocabulary"
    if random:
        # Tokenizers number their tokens roughly by decreasing frequency.
        frequent = np.arange(min(_FREQUENT, model.spec.config.vocab_size))
        tokens = np.setdiff1d(frequent, tokenizer.all_special_ids)
    else:
        tokens = np.asarray(tokenizer.encode(tune.prompt_text, add_special_tokens=False))
    return prompt.vectors(
        key,
        model.spec,
        model.params,
        tune.virtual_tokens,
        jnp.asarray(tokens, jnp.int32),
        random,
    )


def _copy(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.copy(), tree)
