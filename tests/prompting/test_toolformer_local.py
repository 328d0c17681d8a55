"""A decoder reads and writes for Toolformer as the same weights do in Hugging Face's library."""

import dataclasses

import numpy as np
import pytest
import torch
import transformers

from jaxrec.core import ConfigError
from jaxrec.data import train_bpe
from jaxrec.models import open_model
from jaxrec.prompting import MARKER, GenerateOptions, LocalMarkingModel

TEXTS = ["a sum of two é", "two sums", "a"]
PREFIXES = ["", "[f(x)]\n", "a longer prefix with words"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A random Llama in both libraries, and its tokenizer."""
    tokenizer = train_bpe([*TEXTS, *PREFIXES] * 3, vocab_size=300)
    tokenizer.add_tokens([MARKER])
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_position_embeddings=128,
    )
    theirs = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp("llama")
    theirs.save_pretrained(path)
    opened = open_model(path).model
    ours = LocalMarkingModel(
        model=opened.spec.build(), params=opened.params, tokenizer=tokenizer, batch_size=2
    )
    return ours, theirs, tokenizer


def ids(tokenizer, prefix, text):
    first, second = tokenizer([prefix, text], add_special_tokens=False)["input_ids"]
    return [tokenizer.bos_token_id, *first], second


def test_tokens_and_the_marker_are_scored_as_in_the_other_library(pair):
    ours, theirs, tokenizer = pair
    marker = tokenizer.convert_tokens_to_ids(MARKER)
    for reading, prefix, text in zip(ours.read(PREFIXES, TEXTS), PREFIXES, TEXTS, strict=True):
        before, own = ids(tokenizer, prefix, text)
        with torch.no_grad():
            logits = theirs(torch.tensor([before + own])).logits[0].double()
        logprobs = torch.log_softmax(logits, -1).numpy()[len(before) - 1 :]
        wanted = logprobs[np.arange(len(own)), own]
        np.testing.assert_allclose(reading.logprobs, wanted, atol=2e-5)
        np.testing.assert_allclose(reading.marker, logprobs[:, marker], atol=2e-5)
        ranks = (logprobs > logprobs[:, [marker]]).sum(axis=1)
        np.testing.assert_array_equal(reading.ranks, ranks)


def test_greedy_texts_are_those_of_the_other_library(pair):
    ours, theirs, tokenizer = pair
    written = ours.write(TEXTS, GenerateOptions(max_tokens=6), marker=True)
    for text, [(own, truncated)] in zip(TEXTS, written, strict=True):
        before = torch.tensor([ids(tokenizer, "", text)[0] + ids(tokenizer, "", text)[1]])
        with torch.no_grad():
            made = theirs.generate(
                before, attention_mask=torch.ones_like(before), max_new_tokens=6, do_sample=False
            )[0, before.shape[1] :].tolist()
        ended = made[-1] == tokenizer.eos_token_id
        assert own == tokenizer.decode(made[:-1] if ended else made)
        assert truncated == (not ended)


def test_the_marker_is_written_only_where_it_may_be(pair):
    ours, _, _ = pair
    sampled = GenerateOptions(max_tokens=30, n=60, temperature=50.0, seed=1)
    allowed, banned = (ours.write(["a"], sampled, marker=m)[0] for m in (True, False))
    assert any(MARKER in text for text, _ in allowed)
    assert not any(MARKER in text for text, _ in banned)


def test_pieces_are_the_tokens_and_give_the_text(pair):
    ours, _, tokenizer = pair
    for text, pieces in zip(TEXTS, ours.pieces(TEXTS), strict=True):
        assert "".join(pieces) == text
        assert len(pieces) == len(ids(tokenizer, "", text)[1])


def test_a_text_that_reaches_a_stop_string_is_cut_before_it(pair):
    ours, _, _ = pair
    (free,) = ours.write(["two"], GenerateOptions(max_tokens=12), marker=True)
    stop = free[0][0][4:6]
    (cut,) = ours.write(["two"], GenerateOptions(max_tokens=12, stop=(stop,)), marker=True)
    assert cut[0] == (free[0][0][: free[0][0].index(stop)], False)


def test_no_texts_give_no_answers(pair):
    ours, _, _ = pair
    assert ours.read([], []) == ours.pieces([]) == []
    assert ours.write([], GenerateOptions(), marker=True) == []


def test_a_tokenizer_that_cuts_the_marker_is_rejected(pair):
    ours, _, _ = pair
    plain = train_bpe(TEXTS, vocab_size=300)
    with pytest.raises(ConfigError, match="into several tokens"):
        LocalMarkingModel(model=ours.model, params=ours.params, tokenizer=plain)


def test_prefixes_and_texts_must_be_as_many(pair):
    with pytest.raises(ConfigError, match="1 texts need as many prefixes, got 2"):
        pair[0].read(["", ""], ["a"])


def test_a_draw_depends_on_its_prompt_and_its_number_alone(pair):
    ours, _, _ = pair
    sampled = GenerateOptions(max_tokens=8, n=3, temperature=2.0, seed=3)
    (alone,) = ours.write([TEXTS[0]], sampled, marker=False)
    together = ours.write([PREFIXES[2], TEXTS[2], TEXTS[0], "two two"], sampled, marker=False)
    assert together[2] == alone
    assert len(set(alone)) == 3
    wide = dataclasses.replace(ours, batch_size=64)
    assert wide.write([PREFIXES[2], TEXTS[0]], sampled, marker=False)[1] == alone
    one = dataclasses.replace(sampled, n=1)
    assert ours.write([TEXTS[0]], one, marker=False) == [alone[:1]]
    other = dataclasses.replace(sampled, seed=4)
    assert ours.write([TEXTS[0]], other, marker=False) != [alone]
