"""Which language model a system asks, as a config value, and how it is opened."""

import dataclasses
from pathlib import Path
from typing import Literal

from jaxrec.core import (
    ConfigError,
    Count,
    NotNegative,
    Positive,
    Whole,
    check_ranges,
)
from jaxrec.models import Dtype
from jaxrec.prompting import (
    EndpointModel,
    EndpointOptions,
    LanguageModel,
    Overflow,
    Prices,
    ReplayedModel,
    RequestOptions,
    StoredModel,
)
from jaxrec.runs import language_model_of, open_any
from jaxrec.texts.chat_model import ChatModel

# Settings that name a model.
SOURCES = ("path", "endpoint", "recorded")
# Settings that only a service reads, and those that only a model that is opened here reads.
_SERVICE = (
    *("kind", "system_message", "timeout", "retries", "at_once", "per_minute"),
    *("prompt_price", "completion_price", "stored_price"),
)
_OPENED = ("overflow", "dtype", "batch_size", "chat")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskedModelConfig:
    """A language model that is asked: one of a path, an address or a recording.

    Systems call this setting `asked`, as error messages do.

    Attributes:
      path: a run, a model directory, a checkpoint of Hugging Face, or a GGUF file.
      endpoint: address of an OpenAI-compatible service, such as http://localhost:8000/v1. The
        environment variable OPENAI_API_KEY holds its key.
      recorded: file of answers that an earlier study stored, which are given again.
      name: the service's name of the model, or which of the recorded models to replay. For a path,
        what reports call the model; "" for the name of the path and a checksum.
      answers: file in which answers are stored, so that a study that was interrupted asks only
        what is missing. "" for the place that the system chooses, if it has one.
      context: most tokens of a prompt and its continuation; 0 for the model's own limit.
      overflow: refuse prompts that are longer than the context, or cut their beginning.
      dtype: type of the parameters of a checkpoint.
      batch_size: most continuations in each call of the device.
      chat: whether a model of a path reads each prompt as the turn of a user, in the chat template
        of its tokenizer.
      kind: how the service is asked. Only completions have likelihoods, which answers restricted to
        the legal ones need.
      system_message: message of the system before each prompt of a chat; "" for none.
      timeout: seconds until a request to the service without an answer is given up.
      retries: further attempts after a request to the service fails.
      at_once: requests that wait for their answers at the same time.
      per_minute: most requests a minute; 0 for no limit.
      prompt_price: what the service charges for a million tokens of prompts.
      completion_price: what it charges for a million tokens of completions.
      stored_price: what it charges for a million tokens of prompts from its own cache; None for
        the price of prompts.

    Raises:
      ConfigError: a number out of range, two of the three sources, or a setting that the source
        does not read.

    Example:
      >>> from jaxrec.texts import AskedModelConfig
      >>> AskedModelConfig(path="models/smol", context=512).given
      True
    """

    path: str = ""
    endpoint: str = ""
    recorded: str = ""
    name: str = ""
    answers: str = ""
    context: Whole = 0
    overflow: Overflow = "refuse"
    dtype: Dtype = "float32"
    batch_size: Count = 32
    chat: bool = False
    kind: Literal["chat", "completions"] = "chat"
    system_message: str = ""
    timeout: Positive = 60.0
    retries: Whole = 5
    at_once: Count = 4
    per_minute: NotNegative = 0.0
    prompt_price: NotNegative = 0.0
    completion_price: NotNegative = 0.0
    stored_price: NotNegative | None = None

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        check_ranges(self, "--asked.")
        sources = [name for name in SOURCES if getattr(self, name)]
        if len(sources) > 1:
            raise ConfigError(
                f"--asked.{sources[0]} {getattr(self, sources[0])} and --asked.{sources[1]} "
                f"{getattr(self, sources[1])} are two models, and one is asked; leave one out"
            )
        if not self.endpoint:
            self._unread(_SERVICE, "an --asked.endpoint")
        elif not self.name:
            raise ConfigError(
                f"--asked.endpoint {self.endpoint} needs the service's name of the model; give "
                "--asked.name"
            )
        if not self.path:
            self._unread(_OPENED, "a --asked.path")
        if not self.path and not self.endpoint:
            self._unread(("context", "answers"), "a --asked.path or an --asked.endpoint")
        if not self.given:
            self._unread(("name",), "a --asked.path, an --asked.endpoint or --asked.recorded")

    @property
    def given(self) -> bool:
        """Whether a model is named at all."""
        return any(getattr(self, name) for name in SOURCES)

    def check_counted(self) -> None:
        """Reject a limit of tokens for a service, for systems that count the tokens of prompts.

        Raises:
          ConfigError: a context for a service, whose tokenizer is unknown.
        """
        if self.endpoint and self.context:
            raise ConfigError(
                f"--asked.context {self.context} limits the tokens of prompts, and the tokenizer "
                f"of the service {self.endpoint} is unknown; leave it out: the service refuses "
                "prompts that are too long"
            )

    def _unread(self, names: tuple[str, ...], needed: str) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in names and value != field.default:
                raise ConfigError(
                    f"--asked.{field.name.replace('_', '-')} {value} is read only with {needed}; "
                    "leave it out"
                )


def open_asked_model(config: AskedModelConfig, answers: Path | None = None) -> LanguageModel:
    """Open the language model that a system asks.

    Args:
      config: which one.
      answers: file of stored answers if the config names none; None stores nothing.

    Returns:
      The model. With a file of answers, it reports for an answer from an earlier process what that
      answer cost, so that totals do not depend on interruptions.

    Raises:
      ConfigError: no model is named, it writes no text, or the context is larger than its own.
      DataError: there is no model or no recording at the path, or a file is damaged.
      ResourceError: the file of answers cannot be written.

    Example:
      >>> open_asked_model(AskedModelConfig())  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: no language model is named; give --asked.path, ...
    """
    if not config.given:
        raise ConfigError(
            "no language model is named; give --asked.path, --asked.endpoint with --asked.name, or "
            "--asked.recorded"
        )
    if config.recorded:
        return ReplayedModel(config.recorded, config.name or None)
    model = _open_service(config) if config.endpoint else _open_path(config)
    stored = Path(config.answers) if config.answers else answers
    if stored is None:
        return model
    # What a service answered to a process that was killed meanwhile is lost, and asked again.
    chunk = config.at_once if config.endpoint else 64
    return StoredModel(model, stored, chunk=chunk, recorded_usage=True)


def _open_service(config: AskedModelConfig) -> EndpointModel:
    options = EndpointOptions(
        kind=config.kind,
        system=config.system_message,
        context=config.context or None,
        requests=RequestOptions(
            timeout=config.timeout,
            retries=config.retries,
            at_once=config.at_once,
            per_minute=config.per_minute or None,
        ),
        prices=Prices(
            prompt=config.prompt_price,
            completion=config.completion_price,
            stored=config.stored_price,
        ),
    )
    return EndpointModel(config.name, base_url=config.endpoint, options=options)


def _open_path(config: AskedModelConfig) -> LanguageModel:
    path = Path(config.path)
    opened = open_any(path, None, config.dtype)
    model = language_model_of(
        opened,
        path,
        name=config.name or None,
        context=config.context or None,
        option="--asked.context",
        overflow=config.overflow,
        batch_size=config.batch_size,
    )
    if not config.chat:
        return model
    assert opened.tokenizer is not None
    return ChatModel(model, opened.tokenizer)
