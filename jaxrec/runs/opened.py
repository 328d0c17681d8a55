"""Open anything that holds a model: a run, a model directory, or a checkpoint made elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrec.core import ConfigError
from jaxrec.models import Dtype, Kind, Opened, open_model
from jaxrec.prompting import LocalModel
from jaxrec.runs.directory import is_run, load_run
from jaxrec.runs.system import offered

if TYPE_CHECKING:
    from jaxrec.align import RewardModel


def open_any(
    path: Path, kind: Kind | None = None, dtype: Dtype = "float32", tokenizer: Path | None = None
) -> Opened:
    """Open a run directory, a model directory, or a checkpoint of another format.

    Args:
      path: the directory or file.
      kind: architecture and head of a checkpoint; None for what it says itself.
      dtype: type of a checkpoint's parameters.
      tokenizer: directory or llama2.c file of a tokenizer; None for the one beside the model.

    Raises:
      ConfigError: a run of a system whose models cannot be opened, or a checkpoint that is not
        supported.
      DataError: no model there, or a damaged file.
    """
    if not is_run(path):
        return open_model(path, kind, dtype, tokenizer)
    config = load_run(path)
    return offered(config, "open_model")(config, path)


def open_language_model(
    path: Path | str,
    *,
    name: str | None = None,
    dtype: Dtype = "float32",
    tokenizer: Path | None = None,
    **options: Any,
) -> LocalModel:
    """Open a run of a system that trains text models, or any other text model, for prompting.

    Args:
      path: see `open_any`: a run of `pretrain`, `instruct`, `ppo` or another system of text models,
        a model directory, or a checkpoint of another format.
      name: what reports call the model; None for the path's name and the first digits of the
        parameters' checksum.
      dtype: type of a checkpoint's parameters.
      tokenizer: directory or llama2.c file of a tokenizer; None for the one beside the model.
      **options: `context`, `overflow`, `batch_size` and `prefixes` of `prompting.LocalModel`.

    Raises:
      ConfigError: a run of a system without a text model, a model that writes no text, or one
        without a tokenizer.
      DataError: no model there, or a damaged file.

    Example:
      >>> import tempfile
      >>> from jaxrec.data import save_tokenizer, train_bpe
      >>> from jaxrec.models import ModelSpec, Pretrained, save_model
      >>> from jaxrec.runs import open_language_model
      >>> from jaxrec.testing import random_params, tiny_model
      >>> tokenizer = train_bpe(["one word"], vocab_size=300)
      >>> spec = ModelSpec("causal", tiny_model(len(tokenizer)))
      >>> directory = Path(tempfile.mkdtemp()) / "tiny"
      >>> save_model(Pretrained(spec=spec, params=random_params(spec.build())), directory)
      >>> save_tokenizer(tokenizer, directory)
      >>> model = open_language_model(directory, overflow="cut")
      >>> model.context, model.name.startswith("tiny-")
      (64, True)
    """
    path = Path(path)
    return language_model_of(open_any(path, None, dtype, tokenizer), path, name=name, **options)


def language_model_of(
    opened: Opened,
    path: Path,
    *,
    name: str | None = None,
    context: int | None = None,
    option: str = "context",
    **options: Any,
) -> LocalModel:
    """Make a language model of what `open_any` opened at a path.

    Args:
      opened: the model and its tokenizer.
      path: where it was opened.
      name: see `open_language_model`. A context of one's own stands in a name that is not given,
        because prompts that are cut elsewhere have other answers.
      context: most tokens of a prompt and its continuation; None for the model's own limit.
      option: what messages call the context.
      **options: `overflow`, `batch_size` and `prefixes` of `prompting.LocalModel`.

    Raises:
      ConfigError: a model that writes no text, one without a tokenizer, or a context beyond the
        positions that the model was trained on.
    """
    if context is not None:
        # Many models compute likelihoods at positions that they were not trained on.
        longest = opened.model.spec.config.max_length
        if context > longest:
            raise ConfigError(
                f"{option} {context} is larger than the context of {path}, which is {longest} "
                f"tokens; give at most {longest}, or leave it out"
            )
    model = LocalModel.at(opened, path, name, context=context, **options)
    if context is not None and name is None:
        model.name += f"-context{context}"
    return model


def open_reward(path: Path, *, gold: bool = False) -> "RewardModel":
    """Open a run as a reward of texts, whatever its system.

    Args:
      path: the directory of the run.
      gold: open the second model of the run, which has learned from prompts of its own.

    Raises:
      ConfigError: a run of a system that has no reward.
      DataError: no run there, one without a second model, or a damaged file.

    Example:
      >>> open_reward(Path("nowhere"))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: nowhere is no run directory (no such directory); ...
    """
    config = load_run(path)
    return offered(config, "open_reward")(config, path, gold=gold)
