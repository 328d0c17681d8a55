"""Whole words: numbers of a sentence counted by hand, and what the encoder does with them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.data.tokenizers import train_unigram
from jaxrec.decode import Prompts, TextOptions, generate, read_histories
from jaxrec.models import (
    WORDS,
    EncoderDecoder,
    ModelSpec,
    Pretrained,
    TransformerConfig,
    export_model,
    word_kinds,
    word_numbers,
)
from jaxrec.testing import random_params

T5 = TransformerConfig(
    vocab_size=12,
    width=16,
    num_heads=2,
    positions="relative",
    activation="relu",
    gated=False,
    query_scale=1.0,
    logit_scale=16**-0.5,
)
# Of twelve tokens: padding and the end belong to no word, 2 to 6 begin one, 7 to 11 go on.
KINDS = np.array([-1, -1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], np.int8)


def _numbers(tokens, valid=None, segments=None):
    tokens = jnp.asarray([tokens], jnp.int32)
    valid = tokens > 0 if valid is None else jnp.asarray([valid])
    segments = None if segments is None else jnp.asarray([segments], jnp.int32)
    return word_numbers(jnp.asarray(KINDS), tokens, valid, segments)[0].tolist()


def test_pieces_of_a_word_share_a_number_and_the_end_has_none():
    # a word of three pieces, one of one, one of two, the end, padding
    assert _numbers([2, 7, 8, 3, 4, 7, 1, 0]) == [1, 1, 1, 2, 3, 3, 0, 0]


def test_padding_on_the_left_counts_nothing():
    assert _numbers([0, 0, 2, 7, 3, 1]) == [0, 0, 1, 1, 2, 0]


def test_virtual_tokens_belong_to_no_word():
    assert _numbers([12, 13, 2, 7, 3]) == [0, 0, 1, 1, 2]


def test_texts_packed_into_a_row_are_numbered_each_by_itself():
    found = _numbers([2, 7, 3, 1, 4, 9, 5, 1], segments=[0, 0, 0, 0, 1, 1, 1, 1])
    assert found == [1, 1, 2, 0, 1, 1, 2, 0]


def test_a_sentence_is_numbered_as_white_space_parts_it():
    text = "user_23 has bought item_7391 , item_12 and item_988"
    tokenizer = train_unigram([text, "user_1 item_55 item_73 item_91 bought , and has"], 400)
    size = len(tokenizer)
    row = tokenizer(text)["input_ids"]
    kinds = jnp.asarray(word_kinds(tokenizer, size))
    tokens = jnp.asarray([row], jnp.int32)
    found = word_numbers(kinds, tokens, tokens >= 0)[0].tolist()
    # Without the end: every piece has the number of the word that its text lies in.
    pieces = tokenizer.convert_ids_to_tokens(row)[:-1]
    letters = [c for number, word in enumerate(text.split(), 1) for c in [number] * len(word)]
    expected, place = [], 0
    for piece in pieces:
        expected.append(letters[min(place, len(letters) - 1)])
        place += len(piece.replace("▁", ""))
    assert found == [*expected, 0]
    assert max(found) == len(text.split())


def _model(rows=6):
    model = EncoderDecoder(dataclasses.replace(T5, word_rows=rows))
    params = random_params(model)
    return model, {"params": params["params"], WORDS: {"kinds": jnp.asarray(KINDS)}}


def test_the_encoder_equals_hugging_face_with_the_rows_added(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model, params = _model(rows=3)
    # The last row serves all words beyond the table's end.
    tokens = jnp.asarray([[2, 7, 3, 4, 8, 5, 1, 0], [6, 6, 9, 1, 0, 0, 0, 0]], jnp.int32)
    ours = model.apply(params, tokens, tokens > 0, method="encode")
    plain = {k: dict(v) for k, v in params["params"].items()}
    rows = np.asarray(plain["embedding"].pop("word"))
    spec = ModelSpec("encoder_decoder", T5)
    export_model(Pretrained(spec=spec, params={"params": plain}), tmp_path / "t5", family="t5")
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "t5").eval()
    words = np.array([[1, 1, 2, 2, 2, 2, 0, 0], [1, 2, 2, 0, 0, 0, 0, 0]])
    embedded = np.asarray(plain["embedding"]["table"])[np.asarray(tokens)] + rows[words]
    with torch.no_grad():
        expected = theirs.encoder(
            inputs_embeds=torch.tensor(embedded), attention_mask=torch.tensor(np.array(tokens > 0))
        ).last_hidden_state.numpy()
    valid = np.asarray(tokens > 0)
    np.testing.assert_allclose(np.asarray(ours)[valid], expected[valid], atol=1e-4)


def test_training_generation_and_search_see_the_same_words():
    model, params = _model()
    tokens = jnp.asarray([[2, 7, 3, 4, 1, 0]], jnp.int32)
    valid, start = tokens > 0, jnp.zeros((1, 1), jnp.int32)
    apply = jax.jit(model.apply)
    expected = apply(params, tokens, valid, start, start == 0)[0, -1]
    prompts = Prompts(tokens=tokens, valid=valid)
    found = generate(model, params, prompts, TextOptions(max_tokens=1))
    assert int(found.tokens[0, 0]) == int(expected.argmax())
    logs = jax.nn.log_softmax(expected)
    np.testing.assert_allclose(found.logprobs[0, 0], logs.max(), atol=1e-5)
    history = read_histories(model, params, prompts)
    read = jax.jit(lambda params, state: model.apply(params, state, method="logits"))
    logits = read(params, history.state[:, 0])[0]
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    # And they matter: with every token a word of its own the answer is another.
    other = {**params, WORDS: {"kinds": jnp.ones(12, jnp.int8)}}
    changed = apply(other, tokens, valid, start, start == 0)[0, -1]
    assert float(jnp.abs(changed - expected).max()) > 1e-3


def test_hugging_face_cannot_say_whole_words(tmp_path):
    pytest.importorskip("transformers")
    model, params = _model()
    spec = ModelSpec("encoder_decoder", model.config)
    with pytest.raises(ConfigError, match="word_rows"):
        export_model(
            Pretrained(spec=spec, params={"params": params["params"]}), tmp_path / "t5", family="t5"
        )
