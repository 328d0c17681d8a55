"""Text in pieces is the whole text, whatever is held back on the way."""

import numpy as np
import pytest

from jaxrec.data import train_bpe, train_unigram
from jaxrec.decode import StopStrings
from jaxrec.serve import TextWriter, TokenTexts

TEXT = "über and ünder 你好, 👩‍🚀 aab aabaa!"


@pytest.fixture(scope="module", params=["bytes", "pieces"])
def tokenizer(request):
    if request.param == "bytes":
        return train_bpe([TEXT, "aaab b aab"], vocab_size=275)
    return train_unigram([TEXT, "aaab b aab"], vocab_size=370)


def whole(tokenizer, tokens, stop):
    """The text of all tokens at once, by the code of `complete`, and the number of them read."""
    from jaxrec.decode.stop import text_of

    strings = StopStrings.build(tokenizer, stop, len(tokenizer)) if stop else None
    text = text_of(tokenizer, tokens)
    return text if strings is None else strings.cut(text)


@pytest.mark.parametrize(
    "stop",
    [(), ("nd ünder", "aab"), ("ab aabaa",), ("ab aa", "b a", "你"), ("\N{WOMAN}",), ("a" * 9,)],
)
def test_pieces_are_the_whole_text(tokenizer, stop):
    texts = TokenTexts(tokenizer)
    rng = np.random.default_rng(len(stop))
    rows = [tokenizer(TEXT, add_special_tokens=False)["input_ids"]]
    rows += [rng.integers(0, len(tokenizer), 40).tolist() for _ in range(30)]
    for number, row in enumerate(rows):
        writer, pieces, told = TextWriter(texts, stop), [], []
        for token in row:
            writer.add(token)
            if writer.stopped:
                break
            if not number or rng.random() < 0.5:
                piece, tokens = writer.release()
                pieces.append(piece)
                told += tokens
                # Whatever comes next, this much stays.
                assert not any(stop_string in "".join(pieces) for stop_string in stop)
        piece, tokens = writer.release(final=True)
        pieces.append(piece)
        told += tokens
        assert "".join(pieces) == whole(tokenizer, row, stop) == writer.text
        assert [token.token for token in told] == row[: len(told)]
        if not writer.stopped:
            assert len(told) == len(row)


def test_offsets_are_those_of_whole_characters(tokenizer):
    writer = TextWriter(TokenTexts(tokenizer), trim=True)
    row = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    for token in row:
        writer.add(token, -1.0)
    text, tokens = writer.release(final=True)
    assert text == TEXT and b"".join(token.raw for token in tokens).strip() == TEXT.encode()
    before = b""
    for token in tokens:
        # An independent count: whole characters of the bytes before the token.
        raw = before if before[:1] != b" " else before[1:]
        assert token.offset == len(raw.decode(errors="ignore"))
        before += token.raw
        if "\ufffd" not in token.text:
            assert text[token.offset :].startswith(token.text)


def test_a_part_of_a_character_has_a_name():
    tokenizer = train_bpe(["abc"], vocab_size=270)
    texts = TokenTexts(tokenizer)
    first, *_ = tokenizer("你")["input_ids"]
    assert texts.name(first) == "bytes:\\xe4"
    assert texts.name(len(tokenizer) + 5) == "" and texts.raw(len(tokenizer) + 5) == b""
