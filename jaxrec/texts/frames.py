"""How a record becomes the text that a model reads: one place for instructions and chats."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from jaxrec.core import ConfigError, nearest
from jaxrec.data import Instruction, MarkedText
from jaxrec.texts.chats import Chat, Message, chat_end, chat_prompt, mark_chat

Record = Instruction | Chat
# Alpaca's two published texts; the tokenizer's chat template; or the instruction as it is.
Frame = Literal["alpaca", "chat", "plain"]
FRAMES: tuple[Frame, ...] = get_args(Frame)


def mark(tokenizer: Any, record: Record, frame: Frame) -> MarkedText:
    r"""Write a record as training reads it, with its answers marked.

    Args:
      tokenizer: of transformers; chats and the frame "chat" need its chat template.
      record: an instruction or a chat; a chat is always written by the chat template.
      frame: how an instruction is written.

    Raises:
      ConfigError: an unknown frame, or a chat template that cannot be used.
      DataError: a chat without a turn of the assistant.

    Example:
      >>> from jaxrec.data import Instruction
      >>> from jaxrec.texts import mark
      >>> mark(None, Instruction("Name a city.", "Peru", "Lima"), "plain").text
      'Name a city.\nPeru\nLima'
    """
    if isinstance(record, Chat) or frame == "chat":
        return mark_chat(tokenizer, as_chat(record))
    if frame == "alpaca":
        return record.marked
    if frame != "plain":
        raise ConfigError(f"no frame {frame!r}{nearest(frame, FRAMES)}; frames: {FRAMES}")
    prompt = _plain(record)
    return MarkedText(prompt + record.output, ((len(prompt), len(prompt + record.output)),))


def prompt_of(tokenizer: Any, record: Record, frame: Frame) -> str:
    r"""Write a record up to where its last answer begins, for `decode.complete`.

    Raises:
      ConfigError, DataError: see `mark`.

    Example:
      >>> from jaxrec.data import Instruction
      >>> from jaxrec.texts import prompt_of
      >>> prompt_of(None, Instruction("Name a city.", "Peru", "Lima"), "plain")
      'Name a city.\nPeru\n'
    """
    if isinstance(record, Chat) or frame == "chat":
        messages = as_chat(record).messages
        last = max(n for n, message in enumerate(messages) if message.role == "assistant")
        return chat_prompt(tokenizer, messages[:last])
    return record.prompt if frame == "alpaca" else _plain(record)


def answer_of(record: Record) -> str:
    """The right answer to `prompt_of`.

    Example:
      >>> from jaxrec.data import Instruction
      >>> from jaxrec.texts import answer_of
      >>> answer_of(Instruction("Name a city.", "Peru", "Lima"))
      'Lima'
    """
    if isinstance(record, Chat):
        return [m.content for m in record.messages if m.role == "assistant"][-1]
    return record.output


def plain_text(record: Record) -> str:
    r"""What a record says, without a frame: to train a tokenizer, or a model on plain text.

    Example:
      >>> from jaxrec.data import Instruction
      >>> from jaxrec.texts import plain_text
      >>> plain_text(Instruction("Name a city.", "", "Lima"))
      'Name a city.\nLima'
    """
    if isinstance(record, Chat):
        return "\n".join(message.content for message in record.messages)
    return _plain(record) + record.output


def answer_ends(tokenizer: Any, records: Sequence[Record], frame: Frame) -> tuple[int, ...]:
    """Tokens that end an answer: the tokenizer's end token, and that of the chat template.

    Raises:
      ConfigError: see `mark`.

    Example:
      >>> from jaxrec.data import Instruction, train_bpe
      >>> from jaxrec.texts import answer_ends
      >>> tokenizer = train_bpe(["Lima"], 270)
      >>> answer_ends(tokenizer, [Instruction("Name a city.", "", "Lima")], "alpaca")
      (2,)
    """
    ends = [tokenizer.eos_token_id]
    if frame == "chat" or any(isinstance(record, Chat) for record in records):
        ends.append(chat_end(tokenizer))
    return tuple(dict.fromkeys(ends))


def as_chat(record: Record) -> Chat:
    r"""An instruction as a chat of two turns.

    Example:
      >>> from jaxrec.data import Instruction
      >>> from jaxrec.texts import as_chat
      >>> as_chat(Instruction("Name a city.", "Peru", "Lima")).messages[0].content
      'Name a city.\n\nPeru'
    """
    if isinstance(record, Chat):
        return record
    asked = record.instruction + (f"\n\n{record.input}" if record.input else "")
    return Chat((Message("user", asked), Message("assistant", record.output)))


def _plain(record: Instruction) -> str:
    return "".join(f"{text}\n" for text in (record.instruction, record.input) if text)
