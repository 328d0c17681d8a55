"""A text model of this library as a language model, against plain forward passes."""

import collections
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import runs
from jaxrec.core import CompileCounter, ConfigError, DataError
from jaxrec.data import save_tokenizer, train_bpe, train_unigram
from jaxrec.decode import TextOptions, complete
from jaxrec.models import CausalLM, EncoderDecoder, ModelSpec, Opened, Pretrained, save_model
from jaxrec.prompting import GenerateOptions, LocalModel
from jaxrec.testing import random_params, tiny_model

DEMONSTRATIONS = "one word and another. " * 3


@pytest.fixture(scope="module")
def parts():
    tokenizer = train_bpe(["one word and another"] * 3, vocab_size=280)
    config = dataclasses.replace(tiny_model(len(tokenizer), depth=2), max_length=256)
    model = CausalLM(config)
    return model, random_params(model), tokenizer


@pytest.fixture(scope="module")
def local(parts):
    return LocalModel(*parts)


@functools.partial(jax.jit, static_argnames="model")
def forward(model, params, *inputs):
    return model.apply(params, *inputs)


def token_logprobs(parts, tokens):
    """Log-probabilities of all tokens after each token of a row, by one plain forward pass."""
    model, params, _ = parts
    # One shape for all rows; no token sees the padding behind it.
    row = np.zeros((1, 64), np.int32)
    row[0, : len(tokens)] = tokens
    logits = forward(model, params, jnp.asarray(row), jnp.arange(64)[None] < len(tokens))
    logits = np.asarray(logits, np.float64)[0, : len(tokens)]
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def plain_score(parts, prompt, continuation):
    """Score by a forward pass over prompt and continuation."""
    rows = token_logprobs(parts, prompt + continuation)
    places = range(len(prompt) - 1, len(prompt) + len(continuation) - 1)
    scores = [rows[place, token] for place, token in zip(places, continuation, strict=True)]
    best = [int(rows[place].argmax()) for place in places]
    return sum(scores), best == list(continuation)


def test_continuations_score_as_in_a_plain_forward_pass(parts, local):
    prompts = [DEMONSTRATIONS + text for text in ("one", "word an", "and")] + ["and another"]
    rows = [[" word", " and another", "!"], [" one"], ["y", " word"], [" one word"]]
    found = local.score(prompts, rows)
    for prompt, row, scores in zip(prompts, rows, found, strict=True):
        assert len(scores) == len(row)
        for continuation, score in zip(row, scores, strict=True):
            own = parts[2](prompt)["input_ids"]
            wanted = parts[2](prompt + continuation)["input_ids"][len(own) :]
            value, greedy = plain_score(parts, own, wanted)
            assert score.logprob == pytest.approx(value, abs=1e-4)
            assert (score.tokens, score.greedy) == (len(wanted), greedy)


def test_what_the_model_writes_is_greedy_and_nothing_else_is(local):
    prompt = DEMONSTRATIONS + "one"
    reply = local.generate([prompt], GenerateOptions(max_tokens=1))[0]
    row = [reply.text, "z" if reply.text != "z" else "y"]
    assert [score.greedy for score in local.score([prompt], [row])[0]] == [True, False]


def test_prompts_with_a_shared_beginning_are_continued_as_each_alone(parts, local):
    prompts = [DEMONSTRATIONS + text for text in ("one", "word an", "another one and")]
    replies = local.generate(prompts, GenerateOptions(max_tokens=7))
    assert [reply.text for reply in replies] == complete(*parts, prompts, TextOptions(max_tokens=7))
    assert all(reply.usage.shared_tokens for reply in replies[1:])


def test_a_prefix_is_read_once(parts):
    local = LocalModel(*parts, prefixes=1)
    tokens = local.count_tokens([DEMONSTRATIONS])[0]
    prompts = [DEMONSTRATIONS + letter for letter in "xyz"]
    first = [reply.usage for reply in local.generate(prompts, GenerateOptions(max_tokens=2))]
    assert [usage.shared_tokens for usage in first] == [0, tokens, tokens]
    # The next call finds it in the memory, whatever follows it.
    usage = local.score([DEMONSTRATIONS + "one word"], [["a", "b"]])[0]
    assert usage[0].usage.shared_tokens == tokens
    assert usage[1].usage.shared_tokens == local.count_tokens([DEMONSTRATIONS + "one word"])[0]


def test_scored_texts_take_no_place_in_the_memory(parts):
    local = LocalModel(*parts, prefixes=1, context=40)
    prompt, options = [DEMONSTRATIONS + "x"], GenerateOptions(max_tokens=2)
    local.generate(prompt, options)
    local.score_text(["many other words, and one text of more than forty bytes " * 2])
    usage = local.generate(prompt, options)[0].usage
    assert usage.shared_tokens == usage.prompt_tokens - 1
    local.forget()
    assert local.generate(prompt, options)[0].usage.shared_tokens == 0


def test_a_growing_prompt_is_read_as_a_whole_one(parts):
    grown, fresh = LocalModel(*parts), LocalModel(*parts)
    prompt, options = DEMONSTRATIONS, GenerateOptions(max_tokens=5)
    for _ in range(3):
        reply = grown.generate([prompt], options)[0]
        assert reply.text == complete(*parts, [prompt], TextOptions(max_tokens=5))[0]
        prompt += reply.text + " and"
    assert grown.generate([prompt], options)[0].usage.shared_tokens > 40
    assert fresh.generate([prompt], options)[0].usage.shared_tokens == 0
    # A prompt that leaves the stored one half-way.
    other = DEMONSTRATIONS[:30] + "zz"
    assert grown.generate([other], options)[0].text == fresh.generate([other], options)[0].text


SAMPLED = GenerateOptions(max_tokens=6, n=3, temperature=1.5, top_k=20, top_p=0.95, seed=5)


def test_draws_do_not_depend_on_the_batch(parts, local):
    prompts = [DEMONSTRATIONS + text for text in ("one", "word an", "and")]
    together = local.generate([*prompts, "another"], SAMPLED)
    alone = [LocalModel(*parts, batch_size=2).generate([p], SAMPLED)[0] for p in prompts]
    assert [reply.texts for reply in together[:3]] == [reply.texts for reply in alone]
    texts = {text for reply in together for text in reply.texts}
    assert len(texts) > 8


def test_equal_prompts_get_equal_answers_and_cost_once(local):
    one, other = local.generate(["one word", "one word"], SAMPLED)
    assert one.texts == other.texts
    assert other.usage.completion_tokens == 0
    assert other.usage.shared_tokens == other.usage.prompt_tokens


def test_another_seed_draws_anew(local):
    other = dataclasses.replace(SAMPLED, seed=6)
    assert local.generate(["one"], SAMPLED)[0].texts != local.generate(["one"], other)[0].texts


@pytest.mark.slow
def test_draws_have_the_models_probabilities(parts):
    # 4,000 draws of one token against the softmax at that temperature.
    local = LocalModel(*parts, batch_size=500)
    options = GenerateOptions(max_tokens=1, n=4000, temperature=2.0)
    texts = local.generate(["one word"], options)[0].texts
    rows = token_logprobs(parts, parts[2]("one word")["input_ids"])[-1] / 2.0
    chances = np.exp(rows - np.logaddexp.reduce(rows))
    # Single bytes of longer characters all have one text; special tokens have none.
    special = set(parts[2].all_special_ids)
    by_text = collections.Counter()
    for token, chance in enumerate(chances):
        by_text["" if token in special else parts[2].decode([token])] += chance
    for text, chance in by_text.most_common(5):
        assert texts.count(text) / 4000 == pytest.approx(chance, abs=4 * (chance / 4000) ** 0.5)


def test_a_stop_string_ends_a_text_and_is_cut(local):
    whole = local.generate(["one"], GenerateOptions(max_tokens=8))[0]
    assert whole.truncated == (True,)
    stop = whole.text[3:5]
    reply = local.generate(["one"], GenerateOptions(max_tokens=8, stop=(stop, "\n\n\n")))[0]
    assert reply.text == whole.text[: whole.text.index(stop)]
    assert reply.truncated == (False,)
    assert reply.usage.completion_tokens < whole.usage.completion_tokens


def test_windows_score_every_token_of_a_text_once(parts):
    local = LocalModel(*parts, context=8)
    text = "many more bytes, one word and another"
    tokenizer = parts[2]
    tokens = tokenizer(text)["input_ids"]
    assert len(tokens) > 16
    found = local.score_text([text, "one", ""])
    expected = []
    # Windows of 8: after the begin token, then after one token, then the rest after full context.
    last = (len(tokens) - 1) // 8 * 8
    for first in range(0, len(tokens), 8):
        end = min(first + 8, len(tokens))
        read = [tokenizer.bos_token_id, *tokens] if first == 0 else tokens
        row = read[:8] if first == 0 else tokens[end - 9 : end - 1]
        if first == last:
            assert len(row) == 8
        rows = token_logprobs(parts, row)
        expected += [
            rows[len(row) - (end - first) + place, token]
            for place, token in enumerate(tokens[first:end])
        ]
    np.testing.assert_allclose(found[0].logprobs, expected, atol=1e-4)
    assert len(found[1].logprobs) == len(tokenizer("one")["input_ids"])
    assert found[2].logprobs == ()


def test_repeated_calls_compile_nothing(local):
    prompts = [DEMONSTRATIONS + text for text in ("one", "word an", "and")]
    options = GenerateOptions(max_tokens=9, stop=("q",))
    local.generate(prompts, options)
    local.score(prompts, [["a", "b"]] * 3)
    with CompileCounter() as counter:
        others = [DEMONSTRATIONS + text for text in ("other", "an", "word one")]
        local.generate(others, dataclasses.replace(options, max_tokens=11, stop=("xy", "z")))
        local.score(others, [["cd", "b"]] * 3)
    assert counter.count == 0, counter.programs


def test_a_prompt_that_is_too_long_is_refused_or_cut(parts):
    text, options = "one word and another " * 3, GenerateOptions(max_tokens=4)
    with pytest.raises(ConfigError, match=r"prompt 1 has \d+ tokens.*room for 8.*overflow=\"cut\""):
        LocalModel(*parts, context=12).generate(["one", text], options)
    with pytest.raises(ConfigError, match="prompt 0 has"):
        LocalModel(*parts, context=12).score([text], [[" one"]])
    cutting = LocalModel(*parts, context=12, overflow="cut")
    tokenizer = parts[2]
    kept = tokenizer.decode(tokenizer(text)["input_ids"][-8:])
    assert (
        cutting.generate([text], options)[0].text
        == complete(*parts, [kept], TextOptions(max_tokens=4))[0]
    )
    with pytest.raises(ConfigError, match="a continuation of 12 tokens leaves no room"):
        cutting.generate(["one"], GenerateOptions(max_tokens=12))


def test_an_empty_prompt_is_the_begin_token(parts, local):
    start = parts[2].bos_token_id
    tokens = parts[2]("one")["input_ids"]
    assert local.score([""], [["one"]])[0][0].logprob == pytest.approx(
        plain_score(parts, [start], tokens)[0], abs=1e-4
    )


@pytest.mark.slow
def test_an_encoder_decoder_scores_and_writes_after_what_its_encoder_reads():
    tokenizer = train_unigram(["one word and another"] * 3, 400)
    model = EncoderDecoder(tiny_model(len(tokenizer)))
    params = random_params(model)
    local = LocalModel(model, params, tokenizer)
    prompts, rows = ["one word", "and"], [["another", "one"], ["word and"]]
    for prompt, row, scores in zip(prompts, rows, local.score(prompts, rows), strict=True):
        source = jnp.asarray([tokenizer(prompt)["input_ids"]])
        for text, score in zip(row, scores, strict=True):
            tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
            read = jnp.asarray([[tokenizer.pad_token_id, *tokens[:-1]]])
            every = forward(model, params, source, source >= 0, read, read >= 0)
            logprobs = jax.nn.log_softmax(every[0])[jnp.arange(len(tokens)), jnp.asarray(tokens)]
            assert score.logprob == pytest.approx(float(logprobs.sum()), abs=1e-4)
            assert score.tokens == len(tokens)
    written = local.generate(prompts, GenerateOptions(max_tokens=5))
    expected = complete(model, params, tokenizer, prompts, TextOptions(max_tokens=5))
    assert [reply.text for reply in written] == expected
    with pytest.raises(ConfigError, match="is an encoder-decoder"):
        local.score_text(["one"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.generate("one", GenerateOptions()), "got one text"),
        (lambda model: model.score(["one"], []), "1 prompts need 1 rows"),
        (lambda model: model.score(["one"], ["two"]), "a list is needed, got a text"),
        (lambda model: model.score(["one"], [["a", ""]]), "continuation 1 of prompt 0 is empty"),
        (lambda model: model.score_text("one"), "got one text"),
    ],
)
def test_wrong_questions_are_errors(local, call, message):
    with pytest.raises(ConfigError, match=message):
        call(local)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overflow": "drop"}, "overflow must be one of"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 1.5}, "batch_size must be at least 1, a whole number, got 1.5"),
        ({"prefixes": 0}, "prefixes must be at least 1"),
        ({"context": 0}, "context must be at least 1"),
    ],
)
def test_wrong_options_are_errors(parts, options, message):
    with pytest.raises(ConfigError, match=message):
        LocalModel(*parts, **options)


def test_the_name_tells_other_weights(parts):
    model, params, tokenizer = parts
    names = {LocalModel(model, random_params(model, seed), tokenizer).name for seed in (0, 1)}
    assert len(names) == 2 and LocalModel(model, params, tokenizer).name in names


def test_directories_are_opened_and_named(parts, tmp_path):
    model, params, tokenizer = parts
    directory = tmp_path / "tiny"
    spec = ModelSpec("causal", model.config)
    save_model(Pretrained(spec=spec, params=params), directory)
    with pytest.raises(ConfigError, match="needs a tokenizer"):
        runs.open_language_model(directory)
    save_tokenizer(tokenizer, directory)
    opened = runs.open_language_model(directory, context=40, batch_size=4)
    assert opened.name.startswith("tiny-") and opened.context == 40
    assert opened.name.endswith("-context40")
    with pytest.raises(ConfigError, match="context 9999 is larger than the context of"):
        runs.open_language_model(directory, context=9999)
    assert runs.open_language_model(directory, name="mine").name == "mine"
    options = GenerateOptions(max_tokens=4)
    expected = LocalModel(*parts).generate(["one word"], options)
    assert opened.generate(["one word"], options) == expected
    encoder = ModelSpec("encoder", model.config)
    with pytest.raises(ConfigError, match="kind 'encoder' writes no text"):
        LocalModel.of(Opened(model=Pretrained(spec=encoder, params=params), tokenizer=tokenizer))


def test_the_virtual_tokens_of_a_tuned_prompt_stand_before_every_prompt(parts):
    model, params, tokenizer = parts
    prompt = jnp.asarray(np.random.default_rng(0).normal(size=(5, 16)), jnp.float32)
    tuned = {**params, "tuned": {"embedding": {"prompt": prompt}}}
    local = LocalModel(model, tuned, tokenizer)
    # So short a prompt shares nothing but them.
    reply = local.generate(["one"], GenerateOptions(max_tokens=5))[0]
    expected = complete(model, tuned, tokenizer, ["one"], TextOptions(max_tokens=5))
    assert [reply.text] == expected
    # The likeliest token after a prompt is the one that is written.
    first = local.generate(["one"], GenerateOptions(max_tokens=1))[0].text
    assert local.score(["one"], [[first]])[0][0].greedy


@pytest.mark.slow
def test_many_continuations_of_a_prompt_are_divided_into_rows(parts):
    local = LocalModel(*parts)
    words = [f" word{number}" for number in range(200)]
    many = local.score(["and one", "another"], [words, words[:3]])
    assert [len(row) for row in many] == [200, 3]
    for place in (0, 77, 199):
        own = parts[2]("and one")["input_ids"]
        whole = parts[2]("and one" + words[place])["input_ids"]
        expected = plain_score(parts, own, whole[len(own) :])[0]
        assert many[0][place].logprob == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ab\ud800", r"text 0 has half a character, '\\ud800', at place 2"),
        (5, "text 0 must be a text, got 5"),
    ],
)
def test_what_no_tokenizer_reads_is_named(local, text, message):
    for call in (
        lambda: local.generate([text], GenerateOptions(max_tokens=1)),
        lambda: local.score([text], [["a"]]),
        lambda: local.score(["a"], [[text]]),
        lambda: local.score_text([text]),
        lambda: local.count_tokens([text]),
    ):
        with pytest.raises(DataError, match=message):
            call()
