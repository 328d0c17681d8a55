"""A model that was tuned for chats, asked in its chat template.

A service frames prompts itself. A model that is opened here reads texts as they stand, and one that
was tuned for chats answers well only behind the marks of its template.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxrec.prompting import GenerateOptions, LanguageModel, Reply, Score, TextScore
from jaxrec.texts.chats import Message, chat_prompt, chat_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class ChatModel:
    r"""A language model that reads each prompt as the turn of a user.

    Args:
      model: continues texts.
      tokenizer: with a chat template.

    Raises:
      ConfigError: a tokenizer without a chat template.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> from jaxrec.texts import CHAT_TEMPLATE, ChatModel
      >>> tokenizer = train_bpe(["Hi."], 270)
      >>> tokenizer.chat_template = CHAT_TEMPLATE
      >>> script = ScriptedModel(lambda prompt, sample: "Hi!")
      >>> ChatModel(script, tokenizer).generate(["Hi."], GenerateOptions())[0].text
      'Hi!'
      >>> script.calls[0].prompt
      '### User:\nHi.</s>\n### Assistant:\n'
    """

    def __init__(self, model: LanguageModel, tokenizer: "PreTrainedTokenizerBase") -> None:
        chat_template(tokenizer)
        self._model, self._tokenizer = model, tokenizer

    @property
    def name(self) -> str:
        """The name of the model inside, and that it is asked in chats."""
        return f"{self._model.name} (chat)"

    @property
    def context(self) -> int | None:
        """The context of the model inside; the marks of the template take some of it."""
        return self._model.context

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `LanguageModel`; the marks around a turn are counted."""
        return self._model.count_tokens(self._turns(texts))

    def generate(self, prompts: Sequence[str], options: GenerateOptions) -> list[Reply]:
        """See `LanguageModel`."""
        return self._model.generate(self._turns(prompts), options)

    def score(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]
    ) -> list[tuple[Score, ...]]:
        """See `LanguageModel`; a continuation begins a turn, so spaces before it do not count."""
        bare = [[text.lstrip(" ") for text in row] for row in continuations]
        return self._model.score(self._turns(prompts), bare)

    def score_text(self, texts: Sequence[str]) -> list[TextScore]:
        """See `LanguageModel`; texts are scored as they stand."""
        return self._model.score_text(texts)

    def _turns(self, texts: Sequence[str]) -> list[str]:
        return [chat_prompt(self._tokenizer, [Message("user", text)]) for text in texts]
