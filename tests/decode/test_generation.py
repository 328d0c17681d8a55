"""Generated text against Hugging Face and against full passes."""

import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta
from scipy import stats

from jaxrec.core import ConfigError
from jaxrec.core.compiles import CompileCounter
from jaxrec.data.tokenizers import train_bpe, train_unigram
from jaxrec.decode import (
    Prompts,
    Sampling,
    StopStrings,
    TextOptions,
    complete,
    filter_logits,
    generate,
)
from jaxrec.decode.stop import text_of
from jaxrec.models import CausalLM, EncoderDecoder, import_model
from jaxrec.models.llama2c import read_llama2c_tokenizer
from jaxrec.testing import random_params, tiny_model
from jaxrec.testing.peers import make_peer

MOST = {"llama": 64, "gemma3": 64, "gpt2": 64, "t5": 24}


@functools.cache
def _tiny():
    model = CausalLM(tiny_model(40))
    return model, random_params(model, scale=0.5)


def _prompts(vocab_size=40, side="left", lengths=(7, 3, 1, 5)):
    rng = np.random.default_rng(0)
    place, lengths = np.arange(max(lengths))[None], np.array(lengths)[:, None]
    valid = place >= place.size - lengths if side == "left" else place < lengths
    tokens = np.where(valid, rng.integers(3, vocab_size, valid.shape), 0)
    return Prompts(tokens=jnp.asarray(tokens, jnp.int32), valid=jnp.asarray(valid))


def _hugging_face(theirs, prompts, **options):
    import torch

    torch.set_num_threads(1)  # more would wait for one another in so small a model
    with torch.inference_mode():
        return theirs.generate(
            torch.from_numpy(np.array(prompts.tokens, np.int64)),
            attention_mask=torch.from_numpy(np.array(prompts.valid, np.int64)),
            do_sample=False,
            pad_token_id=0,
            # Its cache counts on as many blocks in the decoder as in the encoder (5.23).
            use_cache=not theirs.config.is_encoder_decoder,
            **options,
        ).numpy()


@pytest.mark.parametrize("name", MOST)
@pytest.mark.variants(2)
def test_greedy_text_is_that_of_hugging_face(name, tmp_path):
    most = MOST[name]
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    theirs = make_peer(name, tmp_path)
    theirs.generation_config.eos_token_id = None
    theirs.generation_config.decoder_start_token_id = 0
    ours = import_model(tmp_path)
    model = ours.spec.build()
    # T5 pads on the right, the others on the left.
    prompts = _prompts(model.config.vocab_size, "right" if name == "t5" else "left")

    def find(eos=()):
        return generate(model, ours.params, prompts, TextOptions(max_tokens=most, eos=eos))

    free = _hugging_face(theirs, prompts, max_new_tokens=most)[:, -most:]
    assert free.shape == (4, most)
    if name == "llama":
        np.testing.assert_array_equal(find().tokens, free)
    # Two eos: what the first row writes halfway, and what nothing writes.
    unused = next(t for t in range(model.config.vocab_size) if t not in free)
    eos = int(free[0, most // 2]), unused
    expected = _hugging_face(theirs, prompts, max_new_tokens=most, eos_token_id=list(eos))
    expected = expected[:, 1:] if name == "t5" else expected[:, prompts.tokens.shape[1] :]
    expected = np.pad(expected, ((0, 0), (0, most - expected.shape[1])))
    found = find(eos=eos)
    np.testing.assert_array_equal(found.tokens, expected)
    for row, length in zip(free, found.lengths, strict=True):
        ends = np.flatnonzero(np.isin(row, eos))
        assert length == (ends[0] + 1 if ends.size else most)
    assert found.lengths[0] <= most // 2 + 1


SAMPLING = Sampling(temperature=1.7, top_k=9)


def _draw(seed):
    model, params = _tiny()
    options, key = TextOptions(max_tokens=12, eos=(7,)), jax.random.key(seed)
    return generate(model, params, _prompts(), options, sampling=SAMPLING, key=key)


def test_log_probabilities_are_those_of_a_full_pass_whatever_the_sampling():
    model, params = _tiny()
    tokens, valid = _prompts().tokens, _prompts().valid
    found = _draw(0)
    rows = jnp.concatenate([tokens, found.tokens], axis=1)
    there = jnp.pad(valid, ((0, 0), (0, 12)), constant_values=True)
    logits = np.asarray(jax.jit(model.apply)(params, rows, there))[:, tokens.shape[1] - 1 : -1]
    chosen = np.asarray(found.tokens)[:, :, None]
    expected = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), chosen, axis=2)[:, :, 0]
    written = np.arange(12)[None] < np.asarray(found.lengths)[:, None]
    assert (~written).any()
    np.testing.assert_allclose(found.logprobs, np.where(written, expected, 0.0), atol=1e-5)
    # Each is among the nine best.
    better = (logits > np.take_along_axis(logits, chosen, axis=2)).sum(-1)
    assert 0 < better[written].max() <= 8
    assert (chosen[:, :, 0][~written] == 0).all()
    assert (found.lengths.dtype, found.tokens.dtype) == (jnp.int32, jnp.int32)


def test_keys_decide_what_is_sampled():
    found = [np.asarray(_draw(seed).tokens) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_sampled_tokens_follow_the_filtered_distribution_at_the_second_step():
    model, params = _tiny()
    prompts = _prompts(lengths=(4,))
    rows, sampling = 4096, Sampling(temperature=1.3, top_p=0.9)
    found = generate(
        model,
        params,
        jax.tree.map(lambda x: np.repeat(x, rows, axis=0), prompts),
        TextOptions(max_tokens=2),
        sampling=sampling,
        key=jax.random.key(3),
    )
    pairs = np.asarray(found.tokens)
    first = np.bincount(pairs[:, 0]).argmax()
    seconds = np.bincount(pairs[pairs[:, 0] == first, 1], minlength=40)
    row = np.append(prompts.tokens, np.full((1, 1), first, np.int32), axis=1)
    logits = jax.jit(model.apply)(params, row, np.ones(row.shape, bool))[0, -1]
    expected = np.asarray(jax.nn.softmax(filter_logits(logits, sampling)), np.float64)
    assert seconds[expected == 0].sum() == 0
    likely = expected * seconds.sum() >= 5
    observed = [*seconds[likely], seconds[~likely].sum()]
    wanted = np.array([*expected[likely], expected[~likely].sum()])
    wanted = wanted / wanted.sum() * seconds.sum()
    assert stats.chisquare(observed, wanted).pvalue > 1e-3


def test_padding_on_either_side_and_rows_of_padding_change_nothing():
    model, params = _tiny()
    prompts = [_prompts(side=side) for side in ("left", "right")]
    found, options = [], TextOptions(max_tokens=12, eos=(7,))
    for rows in prompts:
        # A row of padding comes first.
        tokens = jnp.pad(rows.tokens, ((1, 0), (0, 0)), constant_values=9)
        valid = jnp.pad(rows.valid, ((1, 0), (0, 0)))
        found.append(generate(model, params, Prompts(tokens=tokens, valid=valid), options))
    left, right = found
    # The two hold different tokens but in the one row that is full.
    np.testing.assert_array_equal(left.tokens[1], right.tokens[1])
    for read, rows in zip(prompts, found, strict=True):
        assert rows.lengths[0] == 0 and not rows.tokens[0].any() and not rows.logprobs[0].any()
        pairs = zip(np.asarray(read.tokens), np.asarray(read.valid), strict=True)
        texts = [tokens[valid] for tokens, valid in pairs]
        _check_greedy(model, params, texts, rows.tokens[1:], rows.lengths[1:])


@functools.partial(jax.jit, static_argnums=0)
def _forward(model, params, tokens, prefix=None):
    return model.apply(params, tokens, jnp.ones(tokens.shape, bool), prefix=prefix)


def _check_greedy(model, params, texts, tokens, lengths, prefix=False):
    """Each token is the best after what stands before it, by a full pass padded on the right."""
    size = max(map(len, texts)) + tokens.shape[1]
    rows, before = np.zeros((len(texts), size), np.int32), np.zeros((len(texts), size), bool)
    for row, (text, written) in enumerate(zip(texts, np.asarray(tokens), strict=True)):
        rows[row, : len(text)], before[row, : len(text)] = text, prefix
        rows[row, len(text) : len(text) + len(written)] = written
    best = np.asarray(_forward(model, params, rows, before).argmax(-1))
    for row, (text, length) in enumerate(zip(texts, np.asarray(lengths), strict=True)):
        end = len(text) + length
        np.testing.assert_array_equal(
            best[row, len(text) - 1 : end - 1], rows[row, len(text) : end]
        )


def test_a_prefix_is_read_in_both_directions():
    model, params = _tiny()
    prompts = _prompts(lengths=(5,))
    prompts = dataclasses.replace(prompts, prefix=prompts.valid)
    found = generate(model, params, prompts, TextOptions(max_tokens=6))
    _check_greedy(
        model, params, np.asarray(prompts.tokens), found.tokens, found.lengths, prefix=True
    )


def test_the_loop_ends_with_the_last_row():
    # All rows are one, and end with their third token, where far more are allowed.
    model, params = _tiny()
    prompts = jax.tree.map(lambda x: jnp.repeat(x[:1], 4, axis=0), _prompts())
    short = generate(model, params, prompts, TextOptions(max_tokens=12, eos=(7,)))
    written = short.tokens[0].tolist()
    length = written.index(written[2]) + 1
    options = TextOptions(max_tokens=20_000, pad=39, eos=(written[2],))
    found = jax.block_until_ready(generate(model, params, prompts, options))
    start = time.perf_counter()
    jax.block_until_ready(generate(model, params, prompts, options))
    assert time.perf_counter() - start < 2  # 20,000 steps take over a minute
    assert found.lengths.tolist() == [length] * 4
    assert found.tokens[0, :length].tolist() == written[:length]
    assert (np.asarray(found.tokens)[:, length:] == 39).all()


TEXTS = ["User: a film? Assistant: the one about birds.", "two birds, and a naïve café. Stop!"] * 3


@functools.cache
def _text_model(kind):
    pytest.importorskip("transformers")
    tokenizer = train_bpe(TEXTS, 300) if kind == "byte-level" else train_unigram(TEXTS, 400)
    config = dataclasses.replace(tiny_model(len(tokenizer) + 3), tie_embeddings=False)
    model = CausalLM(config)
    return tokenizer, model, random_params(model, scale=0.5)


def _three_letters(texts):
    """Three letters in a row of one of the texts, not at its beginning."""
    for text in texts:
        for at in range(3, len(text) - 2):
            if "\ufffd" not in text[at : at + 3]:
                return text[at : at + 3]
    raise AssertionError(texts)


PROMPTS = ["two birds", "a film?", "café", "a", "the one", "User:"]


def _rows(tokenizer, prompts):
    """Two prompts as `complete` should pad them."""
    tokens = np.zeros((2, 16), np.int32)
    valid = np.zeros((2, 16), bool)
    for row, prompt in enumerate(prompts):
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        tokens[row, -len(ids) :], valid[row, -len(ids) :] = ids, True
    return Prompts(tokens=jnp.asarray(tokens), valid=jnp.asarray(valid))


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece"])
def test_texts_are_continued_in_their_order_and_end_before_a_stop_string(kind):
    tokenizer, model, params = _text_model(kind)
    options = TextOptions(max_tokens=20)

    def run(prompts, stop=None):
        return complete(model, params, tokenizer, prompts, options, stop=stop, batch_size=2)

    free, ending = run(PROMPTS), TextOptions(max_tokens=20, eos=(tokenizer.eos_token_id,))
    for first in range(0, 6, 2):
        rows = _rows(tokenizer, PROMPTS[first : first + 2])
        found = generate(model, params, rows, ending)
        for text, tokens, length in zip(
            free[first : first + 2], found.tokens, found.lengths, strict=True
        ):
            assert text == text_of(tokenizer, tokens[:length].tolist())
    stop = _three_letters(free)
    cut = run(PROMPTS, stop=[stop])
    assert cut == [text.split(stop)[0] for text in free]
    assert any(a != b for a, b in zip(cut, free, strict=True))
    assert run([]) == []


def test_generation_stops_at_the_token_that_completes_a_string():
    tokenizer, model, params = _text_model("byte-level")
    options = TextOptions(max_tokens=20, eos=(tokenizer.eos_token_id,))
    run = functools.partial(generate, model, params, _rows(tokenizer, PROMPTS[:2]), options)
    free = run()
    texts = [
        [text_of(tokenizer, tokens[:end].tolist()) for end in range(1, length + 1)]
        for tokens, length in zip(free.tokens, free.lengths.tolist(), strict=True)
    ]
    string = _three_letters([text[-1] for text in texts])
    stop = StopStrings.build(tokenizer, [string], model.config.vocab_size)
    found = run(stop=stop.table)
    for row, text in enumerate(texts):
        length = next((n for n, t in enumerate(text, start=1) if string in t), len(text))
        assert found.lengths[row] == length
        np.testing.assert_array_equal(found.tokens[row, :length], free.tokens[row, :length])
        assert not found.tokens[row, length:].any()
        assert not found.logprobs[row, length:].any()


def test_another_batch_of_a_bucket_compiles_nothing_again():
    tokenizer, model, params = _text_model("byte-level")
    stop = StopStrings.build(tokenizer, ["User"], model.config.vocab_size)

    def run(prompts, seed, params=params):
        return complete(
            model,
            params,
            tokenizer,
            prompts,
            TextOptions(max_tokens=8),
            stop=stop,
            sampling=Sampling(top_k=5),
            key=jax.random.key(seed),
        )

    run(["two birds", "a film", "the"], 0)
    other = random_params(model, seed=1)
    with CompileCounter() as counter:
        run(["a naïve café", "User", "Stop", "the one"], 1)
        run(["one", "two", "birds"], 2)
        run(["a", "b", "c"], 0, other)
    assert counter.count == 0


def _encoder_decoder_params(model):
    one = jnp.zeros((1, 1), jnp.int32)
    init = functools.partial(model.init, jax.random.key(0), one, one == 0, one, one == 0)
    shapes = meta.unbox(jax.eval_shape(init))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: jnp.asarray(0.5 * rng.normal(size=s.shape), s.dtype), shapes)


def test_a_text_ends_with_each_token_that_the_model_names():
    tokenizer = train_bpe(["hello world this is the end"] * 9, 300)
    model = CausalLM(tiny_model(len(tokenizer)))
    params = random_params(model)
    ids = jnp.array([tokenizer("hello world").input_ids])
    prompts = Prompts(tokens=ids, valid=ids >= 0)
    free = generate(model, params, prompts, TextOptions(max_tokens=6, eos=())).tokens[0]
    config = dataclasses.replace(model.config, end_tokens=(tokenizer.eos_token_id, int(free[2])))
    (found,) = complete(
        CausalLM(config), params, tokenizer, ["hello world"], TextOptions(max_tokens=6)
    )
    first = free.tolist().index(int(free[2]))
    assert found == tokenizer.decode(free[:first])


def test_an_encoder_decoder_answers_texts():
    pytest.importorskip("transformers")
    tokenizer = train_unigram(TEXTS, 400)
    model = EncoderDecoder(dataclasses.replace(tiny_model(len(tokenizer)), tie_embeddings=False))
    params = _encoder_decoder_params(model)
    prompts = ["two birds", "User: a film?"]
    # The encoder reads the eos that its tokenizer adds.
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    assert all(row[-1] == tokenizer.eos_token_id for row in ids)
    source, valid = np.zeros((2, 16), np.int32), np.zeros((2, 16), bool)
    for row, tokens in enumerate(ids):
        source[row, : len(tokens)], valid[row, : len(tokens)] = tokens, True
    forward = jax.jit(model.apply)
    written = np.full((2, 9), 5, np.int32)
    for step in range(8):
        logits = forward(params, source, valid, written, np.ones((2, 9), bool))
        written[:, step + 1] = logits[:, step].argmax(-1)
    options = TextOptions(max_tokens=8, start=5, eos=())
    found = complete(model, params, tokenizer, prompts, options)
    assert found == [tokenizer.decode(row[1:], skip_special_tokens=True) for row in written]


STORY = (
    " Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball."
)


def test_a_published_model_tells_its_published_story(real_data):
    pytest.importorskip("transformers")
    folder = real_data("stories260K")
    ours = import_model(folder / "stories260K.bin")
    tokenizer = read_llama2c_tokenizer(folder / "tok512.bin", ours.spec.config.vocab_size)

    def run(prompts, stop=None):
        options = TextOptions(max_tokens=60)
        return complete(ours.spec.build(), ours.params, tokenizer, prompts, options, stop=stop)

    # karpathy/llama2.c, test_all.py, `expected_stdout` of a run without a prompt
    told, rest = run(["", "Once upon a time, there was"])
    assert told.startswith(STORY)
    assert ("Once upon a time, there was" + rest).startswith(STORY[1:])
    told, rest = run(["", "Once upon a time, there was"], stop=["red ba", " park. One"])
    assert told == STORY.split(" park. One")[0]
    assert told == " Once upon a time, there was" + rest


def test_what_cannot_be_generated_is_refused():
    model, params = _tiny()
    prompts = _prompts()
    run = functools.partial(generate, model, params, prompts, TextOptions(max_tokens=3))
    with pytest.raises(ConfigError, match="max_tokens must be at least 1, got 0"):
        TextOptions(max_tokens=0)
    with pytest.raises(ConfigError, match="needs a random key"):
        run(sampling=Sampling())
    with pytest.raises(ConfigError, match="has 9 tokens, the model 40"):
        run(stop=jnp.zeros((2, 9), jnp.int16))
    with pytest.raises(ConfigError, match=r"\[B, T\], got \(4, 7\) and \(4, 6\)"):
        short = dataclasses.replace(prompts, valid=prompts.valid[:, 1:])
        generate(model, params, short, TextOptions(max_tokens=3))
    with pytest.raises(ConfigError, match="drop prefix"):
        both = dataclasses.replace(prompts, prefix=prompts.valid)
        generate(EncoderDecoder(model.config), params, both, TextOptions(max_tokens=3))
    with pytest.raises(ConfigError, match="drop the segments"):
        packed = dataclasses.replace(prompts, segments=prompts.tokens)
        generate(model, params, packed, TextOptions(max_tokens=3))


def test_more_tokens_than_learned_positions_are_refused():
    config = dataclasses.replace(tiny_model(40), positions="learned", max_length=16)
    model = CausalLM(config)
    params = random_params(model)
    prompts = jax.tree.map(lambda x: jnp.pad(x, ((0, 0), (20, 0))), _prompts())
    # Padding takes no position, and the last token is never read.
    found = generate(model, params, prompts, TextOptions(max_tokens=10))
    assert np.isfinite(found.logprobs).all()
    with pytest.raises(ConfigError, match=r"17 tokens, but .*model.max_length 16"):
        generate(model, params, prompts, TextOptions(max_tokens=11))


def test_texts_that_cannot_be_continued_are_refused():
    tokenizer, model, params = _text_model("byte-level")

    def run(prompts, batch_size=32):
        options = TextOptions(max_tokens=3)
        return complete(model, params, tokenizer, prompts, options, batch_size=batch_size)

    with pytest.raises(ConfigError, match=r"prompt 1 \(''\) has no tokens"):
        run(["a", ""])
    with pytest.raises(ConfigError, match="a list of texts, got one"):
        run("a")
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        run(["a"], batch_size=0)
