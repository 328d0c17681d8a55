import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.data import train_bpe
from jaxrec.decode import Prompts, TextOptions, completions, generate
from jaxrec.models import CausalLM
from jaxrec.testing import random_params, tiny_model


@pytest.fixture(scope="module")
def text_model():
    tokenizer = train_bpe(["one word and another"], vocab_size=280)
    model = CausalLM(tiny_model(len(tokenizer)))
    return model, random_params(model), tokenizer


def prompts_of(tokenizer):
    ids = tokenizer("one")["input_ids"]
    return Prompts(tokens=jnp.asarray([ids]), valid=jnp.ones((1, len(ids)), bool))


def test_truncated_says_that_no_end_was_reached(text_model):
    model, params, tokenizer = text_model
    options = TextOptions(max_tokens=3, eos=())
    whole = completions(model, params, tokenizer, ["one"], options)[0]
    assert whole.truncated
    stopped = completions(model, params, tokenizer, ["one"], options, stop=[whole.text[-1:]])[0]
    assert not stopped.truncated and len(stopped.text) < len(whole.text)


def test_a_large_presence_penalty_repeats_no_token(text_model):
    model, params, tokenizer = text_model
    prompts = prompts_of(tokenizer)
    with_penalty = TextOptions(max_tokens=12, eos=(), presence_penalty=1e4)
    written = np.asarray(generate(model, params, prompts, with_penalty).tokens)[0]
    assert len(set(written.tolist())) == 12
    plain = generate(model, params, prompts, TextOptions(max_tokens=12, eos=()))
    # The first token is not touched, and log-probabilities stay those of the model.
    assert written[0] == np.asarray(plain.tokens)[0, 0]
    np.testing.assert_allclose(
        np.asarray(generate(model, params, prompts, with_penalty).logprobs)[0, 0],
        np.asarray(plain.logprobs)[0, 0],
    )


def test_banned_tokens_are_never_written_and_the_rest_is_greedy(text_model):
    model, params, tokenizer = text_model
    prompts = prompts_of(tokenizer)
    plain = np.asarray(generate(model, params, prompts, TextOptions(max_tokens=3)).tokens)[0]
    banned = []
    for _ in range(3):
        options = TextOptions(max_tokens=3, banned=tuple(banned))
        first = int(np.asarray(generate(model, params, prompts, options).tokens)[0, 0])
        assert first not in banned
        banned.append(first)
    assert banned[0] == plain[0]
    with pytest.raises(ConfigError, match="banned tokens"):
        options = TextOptions(max_tokens=3, banned=(model.config.vocab_size,))
        generate(model, params, prompts, options)
