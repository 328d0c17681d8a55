"""A trained reward model as the reward of a policy: tokens against texts, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from jaxrec.align import (
    Episodes,
    RewardModel,
    check_text_reward,
    host_reward,
    host_text_reward,
    reads_tokens,
    text_reward,
    weighted_sum,
)
from jaxrec.core import ConfigError, DataError
from jaxrec.data import train_bpe
from jaxrec.data.tokenizers import wrap
from jaxrec.models import CausalLM, ScalarHead
from jaxrec.testing import tiny_model

PROMPTS = ["Say it: ", "Name one: ", "Go: "]
ANSWERS = ["good", "a dog", ""]
BYTES = train_bpe(["a"], 260)
HEAD = ScalarHead(CausalLM(tiny_model(len(BYTES))))


def framed_bytes():
    """The same vocabulary, with a token before and after every text."""
    tokenizer = train_bpe(["a"], 260)
    ends = {name: tokenizer.convert_tokens_to_ids(name) for name in ("<s>", "</s>")}
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=list(ends.items())
    )
    return tokenizer


def reward_model(tokenizer=BYTES, max_length=64, head=HEAD):
    example = jnp.zeros((1, 2), jnp.int32)
    shapes = nn.meta.unbox(jax.eval_shape(head.init, jax.random.key(0), example, example == 0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: 0.4 * rng.normal(size=x.shape).astype(np.float32), shapes)
    return RewardModel(
        head=head, params=params, tokenizer=tokenizer, max_length=max_length, batch_size=4
    )


def episodes(tokenizer, *, ended):
    """The texts as a policy writes them: prompts padded on the left, responses on the right."""
    asked, written = (
        tokenizer(part, add_special_tokens=False)["input_ids"] for part in (PROMPTS, ANSWERS)
    )
    if ended:
        written = [[*row, tokenizer.eos_token_id] for row in written]
    before, after = max(map(len, asked)), max(map(len, written))
    tokens = np.zeros((len(asked), before + after), np.int32)
    valid = np.zeros(tokens.shape, bool)
    for row, (prompt, response) in enumerate(zip(asked, written, strict=True)):
        place = slice(before - len(prompt), before + len(response))
        tokens[row, place], valid[row, place] = [*prompt, *response], True
    mask = valid[:, before:]
    nothing = jnp.zeros(mask.shape)
    return Episodes(
        tokens=jnp.asarray(tokens),
        valid=jnp.asarray(valid),
        mask=jnp.asarray(mask),
        ended=jnp.full(len(asked), ended),
        logprobs=nothing,
        reference=nothing,
        entropy=nothing,
        values=nothing,
    )


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("tokenizer", [BYTES, framed_bytes()], ids=["plain", "framed"])
def test_tokens_on_the_device_score_as_their_texts_do(tokenizer, ended):
    model = reward_model(tokenizer)
    wanted = model.rewards(PROMPTS, ANSWERS)
    reward = text_reward(model, BYTES, len(BYTES), "mine")
    assert reads_tokens(model, BYTES, len(BYTES))
    given = reward.score(episodes(BYTES, ended=ended), "a test")
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(given, wanted, atol=1e-5)


@pytest.mark.parametrize("ended", [False, True])
def test_another_tokenizer_reads_the_text_in_between(ended):
    model, words = reward_model(), train_bpe(["Say it: good", "Name one: a dog"] * 3, 300)
    assert not reads_tokens(model, words, len(words))
    given = text_reward(model, words, len(words), "mine").score(
        episodes(words, ended=ended), "a test"
    )
    np.testing.assert_allclose(given, model.rewards(PROMPTS, ANSWERS), atol=1e-6)


def test_a_function_of_texts_gets_prompts_and_responses_without_special_tokens():
    seen = []

    def score(prompts, responses):
        seen.append((prompts, responses))
        return [float(len(response)) for response in responses]

    reward = host_text_reward(score, BYTES, "length")
    given = reward.score(episodes(BYTES, ended=True), "a test")
    assert seen == [(PROMPTS, ANSWERS)]
    assert given.tolist() == [len(answer) for answer in ANSWERS]


def test_a_policy_with_more_rows_than_the_reward_model_is_read_as_text():
    assert not reads_tokens(reward_model(), BYTES, len(BYTES) + 4)


def test_a_sum_weighs_its_rewards():
    first, second = (
        host_reward(lambda prompts, responses, f=f: [f * len(r) for r in responses], f"times {f}")
        for f in (1, 3)
    )
    summed = weighted_sum([(2.0, first), (-0.5, second)])
    assert summed.name == "2 times 1 + -0.5 times 3"
    lengths = np.array([len(answer) for answer in ANSWERS])
    given = summed.score(episodes(BYTES, ended=False), "a test")
    np.testing.assert_allclose(given, 0.5 * lengths)
    assert weighted_sum([(1.0, first)]) is first
    with pytest.raises(ConfigError, match="no reward to add up"):
        weighted_sum([])


def test_a_part_of_a_sum_that_is_not_finite_is_named():
    bad = host_reward(lambda prompts, responses: [np.nan] * len(responses), "broken")
    with pytest.raises(DataError, match="reward 'broken' is nan for episode 0"):
        weighted_sum([(0.0, bad), (2.0, bad)]).score(episodes(BYTES, ended=False), "a test")


def test_a_context_that_is_too_short_is_refused_for_either_tokenizer():
    words = train_bpe(["Say it: good"] * 3, 300)
    asked = np.array(BYTES(["Say it: "] * 2)["input_ids"])
    check_text_reward(reward_model(max_length=17), BYTES, len(BYTES), asked, 8)
    with pytest.raises(ConfigError, match=r"at most 16 tokens, .* 8 and 1 around them need 17"):
        check_text_reward(reward_model(max_length=16), BYTES, len(BYTES), asked, 8)
    fewer = np.array(words(["Say it: "])["input_ids"])
    assert fewer.shape[1] < 8  # bytes of the same text
    with pytest.raises(ConfigError, match=r"need 17 \(another tokenizer\)"):
        check_text_reward(reward_model(max_length=16), words, len(words), fewer, 8)


def test_a_tokenizer_without_tokens_for_the_text_is_refused():
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "good": 2}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    known = wrap(backend, {"unk_token": "<unk>", "eos_token": "</s>"})
    asked = np.array(BYTES(["good", "dogs"])["input_ids"])
    with pytest.raises(ConfigError, match=r"no tokens for a part of the prompt 'dogs' \(1 of 2"):
        check_text_reward(reward_model(known), BYTES, len(BYTES), asked, 4)
