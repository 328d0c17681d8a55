"""Our language models in EleutherAI's lm-evaluation-harness.

lm-eval (Gao et al., doi:10.5281/zenodo.10256836) has hundreds of tasks behind the same three calls.
Its tasks with local files (`dataset_path: json` with `data_files`) need no network. The package is
an extra: `pip install 'jaxrec[lm-eval]'`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxrec.core import ConfigError
from jaxrec.prompting import GenerateOptions, LanguageModel

if TYPE_CHECKING:
    from lm_eval.api.model import LM

# What lm-eval takes for a task that does not say it.
_MAX_TOKENS = 256
# Names of settings of a generation, by what they are called here.
_KNOWN = (
    "until",
    "max_gen_toks",
    "max_new_tokens",
    "max_tokens",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
)


def lm_eval_model(model: LanguageModel, *, seed: int = 0) -> "LM":
    """Return a language model as an `lm_eval.api.model.LM`, for `lm_eval.simple_evaluate`.

    Args:
      model: any language model.
      seed: seed of tasks that draw their texts.

    Raises:
      ConfigError: lm-eval is not installed.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> adapter = lm_eval_model(ScriptedModel(logprob=lambda prompt, text: -2.0))
      >>> from lm_eval.api.instance import Instance
      >>> asked = Instance("loglikelihood", {}, ("A bird can", " fly"), 0)
      >>> adapter.loglikelihood([asked])
      [(-2.0, True)]
    """
    try:
        from lm_eval.api.model import LM
    except ImportError as error:
        raise ConfigError(
            "this needs lm-eval, which is not installed: pip install 'jaxrec[lm-eval]'"
        ) from error

    class Adapter(LM):
        """The three calls of lm-eval."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        @property
        def tokenizer_name(self) -> str:
            """What lm-eval names caches after."""
            return model.name

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            """Score one continuation of each prompt; equal prompts are read once."""
            pairs = [request.args for request in requests]
            rows: dict[str, dict[str, tuple[float, bool]]] = {}
            for prompt, text in pairs:
                rows.setdefault(prompt, {})[text] = (0.0, False)
            scores = model.score(list(rows), [tuple(row) for row in rows.values()])
            for (prompt, row), found in zip(list(rows.items()), scores, strict=True):
                rows[prompt] = {
                    text: (score.logprob, score.greedy)
                    for text, score in zip(row, found, strict=True)
                }
            return [rows[prompt][text] for prompt, text in pairs]

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            """Score whole texts."""
            scores = model.score_text([request.args[0] for request in requests])
            return [score.logprob for score in scores]

        def generate_until(self, requests: list[Any]) -> list[str]:
            """Continue prompts up to their stop strings; equal settings share a call."""
            groups: dict[GenerateOptions, list[int]] = {}
            for place, request in enumerate(requests):
                options = generate_options(request.args[1], seed=seed)
                groups.setdefault(options, []).append(place)
            texts = [""] * len(requests)
            for options, places in groups.items():
                replies = model.generate([requests[place].args[0] for place in places], options)
                for place, reply in zip(places, replies, strict=True):
                    texts[place] = reply.text
            return texts

    return Adapter()


def generate_options(settings: Mapping[str, Any], *, seed: int = 0) -> GenerateOptions:
    r"""Return the options of a generation that lm-eval describes by its own names.

    Args:
      settings: "until", "max_gen_toks", "do_sample", "temperature", "top_k" and "top_p".
      seed: seed of the draws.

    Raises:
      ConfigError: a setting that is not known, because ignoring it would change the figure.

    Example:
      >>> generate_options({"until": ["\n"], "do_sample": False, "max_gen_toks": 32}).max_tokens
      32
    """
    unknown = [name for name in settings if name not in _KNOWN]
    if unknown:
        raise ConfigError(
            f"the task sets {', '.join(unknown)} for its generation, which has no counterpart; "
            f"known are {', '.join(_KNOWN)}"
        )
    until = settings.get("until") or ()
    stop: Sequence[str] = (until,) if isinstance(until, str) else until
    most = next(
        (settings[name] for name in _KNOWN[1:4] if settings.get(name) is not None), _MAX_TOKENS
    )
    temperature = float(settings.get("temperature") or 0.0)
    # A task that samples without a temperature draws from the model's own distribution.
    if settings.get("do_sample"):
        temperature = temperature if settings.get("temperature") is not None else 1.0
    else:
        temperature = 0.0
    return GenerateOptions(
        max_tokens=int(most),
        stop=tuple(dict.fromkeys(text for text in stop if text)),
        temperature=temperature,
        top_k=settings.get("top_k"),
        top_p=float(settings.get("top_p") or 1.0),
        seed=seed,
    )
