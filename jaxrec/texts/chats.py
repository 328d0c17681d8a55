"""Chats as instruction data: what a model learns is what the assistant says, and nothing else.

    <user> Name a capital. </s> <assistant> Paris. </s> <user> Another? </s> <assistant> Lima. </s>
                                            1      1                                     1     1

A chat is written by the tokenizer's own chat template, then tokenized as a whole. Filters follow
InstructGPT (Ouyang et al. 2022, arXiv:2203.02155, section 3.2): prompts that share a long prefix
count once, a user gives at most 200 prompts, and train and held-out parts are split by user.
"""

import dataclasses
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import MarkedText, read_json_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROLES = ("system", "user", "assistant")
# For tokenizers that are trained here; it writes the end token after every turn.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "### {{ message.role | capitalize }}:\n{{ message.content }}{{ eos_token }}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# An optional country code, then groups of digits, one of which may stand in parentheses.
_PHONE = re.compile(r"(?<![\w.+])\+?(?:\(\d{1,5}\)|\d{1,8})(?:[ ./-]{0,2}(?:\(\d{1,5}\)|\d{2,8}))*")
_FEWEST_DIGITS, _MOST_DIGITS = 9, 15
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


@dataclasses.dataclass(frozen=True)
class Message:
    """One turn of a chat.

    Attributes:
      role: one of `ROLES`.
      content: what is said.
    """

    role: str
    content: str


@dataclasses.dataclass(frozen=True)
class Chat:
    """A chat and the user that it comes from.

    Attributes:
      messages: turns, oldest first.
      user: name of the user; "" where it is not known.

    Example:
      >>> from jaxrec.texts import Chat, Message
      >>> Chat((Message("user", "Hi."), Message("assistant", "Hello."))).prompt
      'user: Hi.'
    """

    messages: tuple[Message, ...]
    user: str = ""

    @property
    def prompt(self) -> str:
        """Everything before the assistant's last turn, as one text."""
        turns = [message.role for message in self.messages]
        end = (
            len(turns) - turns[::-1].index("assistant") - 1 if "assistant" in turns else len(turns)
        )
        return "\n".join(f"{m.role}: {m.content}" for m in self.messages[:end])


def read_chats(path: str | os.PathLike[str]) -> list[Chat]:
    """Read chats from a JSON list or JSON lines of records with "messages" and perhaps "user".

    Raises:
      DataError: the file is missing or damaged, or a message lacks its role or content; the message
        names the record.

    Example:
      >>> import json, pathlib, tempfile
      >>> from jaxrec.texts import read_chats
      >>> messages = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Ho."}]
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "chats.jsonl"
      >>> _ = path.write_text(json.dumps({"messages": messages, "user": "a"}))
      >>> read_chats(path)[0].user
      'a'
    """
    path = Path(path)
    chats = []
    for number, row in enumerate(read_json_rows(path, "chats", ("messages",))):
        messages, user = row.get("messages"), row.get("user", "")
        if not isinstance(messages, list) or not messages:
            raise DataError(
                f"{path}: record {number} has no list of messages, but "
                f"{', '.join(row) or 'nothing'}"
            )
        if not isinstance(user, str | int):
            raise DataError(f"{path}: user of record {number} must be a text, got {user!r:.60}")
        turns = (_message(path, number, place, message) for place, message in enumerate(messages))
        chats.append(Chat(tuple(turns), str(user)))
    return chats


def _message(path: Path, number: int, place: int, message: Any) -> Message:
    where = f"{path}: message {place} of record {number}"
    if not isinstance(message, dict):
        raise DataError(f"{where} is {type(message).__name__}, not an object with role and content")
    for name in ("role", "content"):
        if not isinstance(message.get(name), str):
            raise DataError(f"{where} must have a text {name!r}, got {message.get(name)!r:.60}")
    role = message["role"]
    if role not in ROLES:
        raise DataError(
            f"{where} has role {role!r}{nearest(role, ROLES)}; roles: {', '.join(ROLES)}"
        )
    return Message(role, message["content"])


def strip_contacts(text: str) -> tuple[str, int]:
    """Replace e-mail addresses and telephone numbers, and count them.

    A telephone number has 9 to 15 digits, in groups or in one piece; dates, amounts and network
    addresses stay.

    Example:
      >>> from jaxrec.texts import strip_contacts
      >>> strip_contacts("Call +44 20 7946 0958 or write to a.b@example.org by 2024-05-17.")
      ('Call <phone> or write to <email> by 2024-05-17.', 2)
    """
    text, emails = _EMAIL.subn("<email>", text)
    phones = 0

    def replaced(found: re.Match[str]) -> str:
        nonlocal phones
        number = found.group()
        digits = sum(map(str.isdigit, number))
        groups = re.split(r"\D+", number.strip("+()"))
        decimal = len(groups) == 2 and "." in number
        if not _FEWEST_DIGITS <= digits <= _MOST_DIGITS or decimal or _ADDRESS.fullmatch(number):
            return number
        phones += 1
        return "<phone>"

    return _PHONE.sub(replaced, text), emails + phones


def filter_chats(
    chats: Sequence[Chat],
    *,
    prefix: int = 200,
    per_user: int = 200,
    clean: Callable[[str], tuple[str, int]] = strip_contacts,
) -> tuple[list[Chat], Mapping[str, int]]:
    """Clean chats, and leave out those that teach nothing new.

    Args:
      chats: in the order in which they are preferred.
      prefix: prompts that agree in so many first characters are duplicates, and the first is kept;
        shorter prompts must be equal.
      per_user: most chats of a user; chats without a user are not limited.
      clean: returns a text without personal data, and the number of places that it replaced.

    Returns:
      The chats that are kept, and counts: "no answer", "empty answer", "duplicate", "over the
      user's limit" are chats left out, "replaced" is personal data removed from the others.

    Raises:
      ConfigError: a limit below 1.

    Example:
      >>> from jaxrec.texts import Chat, Message, filter_chats
      >>> chat = Chat((Message("user", "Hi."), Message("assistant", "Hello.")))
      >>> kept, counts = filter_chats([chat, chat])
      >>> len(kept), counts["duplicate"]
      (1, 1)
    """
    if prefix < 1 or per_user < 1:
        raise ConfigError(f"prefix {prefix} and per_user {per_user} must be at least 1")
    counts = dict.fromkeys(
        ("no answer", "empty answer", "duplicate", "over the user's limit", "replaced"), 0
    )
    known: set[str] = set()
    users: Counter[str] = Counter()
    kept = []
    for chat in chats:
        cleaned = [(message, *clean(message.content)) for message in chat.messages]
        chat = Chat(tuple(Message(m.role, text) for m, text, _ in cleaned), chat.user)
        answers = [m.content for m in chat.messages if m.role == "assistant"]
        reason = ""
        if not answers:
            reason = "no answer"
        elif not all(answer.strip() for answer in answers):
            reason = "empty answer"
        elif chat.prompt[:prefix] in known:
            reason = "duplicate"
        elif chat.user and users[chat.user] >= per_user:
            reason = "over the user's limit"
        if reason:
            counts[reason] += 1
            continue
        known.add(chat.prompt[:prefix])
        users[chat.user] += 1
        counts["replaced"] += sum(number for *_, number in cleaned)
        kept.append(chat)
    return kept, counts


def split_chats(
    chats: Sequence[Chat], shares: tuple[float, float], seed: int = 0
) -> dict[str, list[Chat]]:
    """Split chats into "train", "valid" and "test" by user; a chat without one is on its own.

    The side of a user depends on the name and the seed alone.

    Args:
      chats: of any users.
      shares: shares of validation and test.
      seed: of the split.

    Raises:
      ConfigError: shares that leave nothing to train on.

    Example:
      >>> from jaxrec.texts import Chat, Message, split_chats
      >>> turns = (Message("user", "Hi."), Message("assistant", "Hello."))
      >>> parts = split_chats([Chat(turns, user) for user in "aab"], (0.0, 0.5))
      >>> sum(map(len, parts.values())), list(parts)
      (3, ['train', 'valid', 'test'])
    """
    valid, test = shares
    if min(shares) < 0 or valid + test >= 1:
        raise ConfigError(f"shares of validation and test must add up to less than 1, got {shares}")
    parts: dict[str, list[Chat]] = {"train": [], "valid": [], "test": []}
    for chat in chats:
        owner = chat.user or repr(chat.messages)
        digest = hashlib.sha256(f"{seed} {owner}".encode()).digest()
        place = int.from_bytes(digest[:8]) / 2**64
        side = "valid" if place < valid else "test" if place < valid + test else "train"
        parts[side].append(chat)
    return parts


def mark_chat(tokenizer: "PreTrainedTokenizerBase", chat: Chat) -> MarkedText:
    """Write a chat by the tokenizer's template, and mark what the assistant says.

    Each answer ends with the token that ends the assistant's turn. A template that marks the
    answers itself ({% generation %}) is believed; otherwise an answer is what the template writes
    after the prompt of a turn.

    Args:
      tokenizer: with a chat template.
      chat: with a turn of the assistant.

    Raises:
      ConfigError: a tokenizer without a chat template, or a template that rewrites earlier turns or
        does not end the assistant's turns with a special token.
      DataError: a chat that has no turn of the assistant, or that the template rejects.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.texts import CHAT_TEMPLATE, Chat, Message, mark_chat
      >>> tokenizer = train_bpe(["Hi."], 270)
      >>> tokenizer.chat_template = CHAT_TEMPLATE
      >>> mark_chat(tokenizer, Chat((Message("user", "Hi."), Message("assistant", "Ho.")))).answers
      ['Ho.</s>']
    """
    messages = [dataclasses.asdict(message) for message in chat.messages]
    turns = [n for n, message in enumerate(chat.messages) if message.role == "assistant"]
    if not turns:
        raise DataError(f"the chat {chat.prompt[:60]!r} has no turn of the assistant to learn")
    template = chat_template(tokenizer)
    if re.search(r"\{%-?\s*generation\s*-?%\}", template):
        text, spans = _generation(tokenizer, template, messages)
    else:
        text = _write(tokenizer, messages)
        spans = [_span(tokenizer, messages, n, text) for n in turns]
    for n, (begin, end) in zip(turns, spans, strict=False):
        if chat.messages[n].content.strip() not in text[begin:end]:
            raise ConfigError(
                f"the chat template does not write the answer {chat.messages[n].content[:40]!r} as "
                "it is; give the tokenizer a template that keeps every turn"
            )
    if len(spans) != len(turns):
        raise ConfigError(
            f"the chat template marks {len(spans)} answers of {len(turns)}; give the tokenizer a "
            "template that keeps every turn"
        )
    return MarkedText(text, tuple(spans), complete=True)


def chat_prompt(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> str:
    r"""Write the turns up to where the assistant answers, for `decode.complete`.

    The token that the tokenizer begins every text with is left to the tokenizer.

    Raises:
      ConfigError: a tokenizer without a chat template.
      DataError: turns that the template rejects.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.texts import CHAT_TEMPLATE, Message, chat_prompt
      >>> tokenizer = train_bpe(["Hi."], 270)
      >>> tokenizer.chat_template = CHAT_TEMPLATE
      >>> chat_prompt(tokenizer, [Message("user", "Hi.")])
      '### User:\nHi.</s>\n### Assistant:\n'
    """
    text = _write(tokenizer, [dataclasses.asdict(message) for message in messages], ask=True)
    begin = tokenizer.bos_token
    added = tokenizer("")["input_ids"]
    if begin and text.startswith(begin) and tokenizer.bos_token_id in added:
        text = text[len(begin) :]
    return text


def chat_end(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The token that ends the assistant's turns.

    Raises:
      ConfigError: see `mark_chat`.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.texts import CHAT_TEMPLATE, chat_end
      >>> tokenizer = train_bpe(["Hi."], 270)
      >>> tokenizer.chat_template = CHAT_TEMPLATE
      >>> tokenizer.convert_ids_to_tokens(chat_end(tokenizer))
      '</s>'
    """
    probe = Chat((Message("user", "a"), Message("assistant", "b")))
    answer = mark_chat(tokenizer, probe).answers[0]
    return int(tokenizer(answer, add_special_tokens=False)["input_ids"][-1])


def chat_template(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The tokenizer's chat template.

    Raises:
      ConfigError: it has none.
    """
    if tokenizer.chat_template is None:
        raise ConfigError(
            "the tokenizer has no chat template, so chats cannot be written; give a model tuned "
            "for chats, set tokenizer.chat_template, or train on instructions in Alpaca's frame"
        )
    return str(tokenizer.get_chat_template())


def _write(
    tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]], ask: bool = False
) -> str:
    from jinja2 import TemplateError

    chat_template(tokenizer)
    try:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask)
        )
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise DataError(
            f"the chat template rejects turns of {roles} ({error}); change the chat or the template"
        ) from error


def _generation(
    tokenizer: "PreTrainedTokenizerBase", template: str, messages: list[dict[str, str]]
) -> tuple[str, list[tuple[int, int]]]:
    from transformers.utils.chat_template_utils import render_jinja_template

    texts, found = render_jinja_template(
        [messages],
        chat_template=template,
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
    )
    return texts[0], [_ended(tokenizer, texts[0], begin, end) for begin, end in found[0]]


def _span(
    tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]], turn: int, text: str
) -> tuple[int, int]:
    """Where an answer stands in the text, its end token included."""
    before = _write(tokenizer, messages[:turn], ask=True) if turn else ""
    after = _write(tokenizer, messages[: turn + 1])
    if not (after.startswith(before) and text.startswith(after)):
        raise ConfigError(
            "the chat template changes earlier turns when a turn is added, so the answers cannot "
            "be located; give the tokenizer a template with {% generation %} around the answers"
        )
    return _ended(tokenizer, text, len(before), len(after))


def _ended(
    tokenizer: "PreTrainedTokenizerBase", text: str, begin: int, end: int
) -> tuple[int, int]:
    """Let an answer end with the special token that ends its turn."""
    specials = tuple(t for t in (*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()) if t)
    answer = text[begin:end].rstrip()
    if answer.endswith(specials):
        return begin, begin + len(answer)
    # A template that marks the answers itself may leave out the token behind them.
    behind = [end + len(token) for token in specials if text.startswith(token, end)]
    if not behind:
        raise ConfigError(
            "the chat template ends the assistant's turns without a special token, so the model "
            f"would not learn to stop: {answer[-40:]!r}; give the tokenizer a template with its "
            "end token after each answer"
        )
    return begin, max(behind)
