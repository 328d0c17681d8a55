"""Beam search over text against Hugging Face and against brute force."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.decode import Prompts, TextOptions, beam_generate, generate
from jaxrec.models import CausalLM, EncoderDecoder, import_model
from jaxrec.testing import random_params, tiny_model
from jaxrec.testing.peers import make_peer

BEAMS, TOKENS, PAD = 4, 10, 1


def _prompts(vocab_size, side="left", lengths=(7, 3, 1, 5)):
    rng = np.random.default_rng(0)
    place, lengths = np.arange(max(lengths))[None], np.array(lengths)[:, None]
    valid = place >= place.size - lengths if side == "left" else place < lengths
    tokens = np.where(valid, rng.integers(3, vocab_size, valid.shape), 0)
    return Prompts(tokens=jnp.asarray(tokens, jnp.int32), valid=jnp.asarray(valid))


def _hugging_face(theirs, prompts, length_penalty, eos):
    """Their beams and scores, `[B, K, max_tokens]` and `[B, K]`."""
    import torch

    torch.set_num_threads(1)  # more would wait for one another in so small a model
    with torch.inference_mode():
        found = theirs.generate(
            torch.from_numpy(np.array(prompts.tokens, np.int64)),
            attention_mask=torch.from_numpy(np.array(prompts.valid, np.int64)),
            do_sample=False,
            num_beams=BEAMS,
            num_return_sequences=BEAMS,
            early_stopping=False,
            length_penalty=length_penalty,
            max_new_tokens=TOKENS,
            eos_token_id=list(eos),
            pad_token_id=PAD,
            return_dict_in_generate=True,
            output_scores=True,
            # Its cache counts on as many blocks in the decoder as in the encoder (5.23).
            use_cache=not theirs.config.is_encoder_decoder,
        )
    begin = 1 if theirs.config.is_encoder_decoder else prompts.tokens.shape[1]
    rows = found.sequences.numpy()[:, begin:]
    rows = np.pad(rows, ((0, 0), (0, TOKENS - rows.shape[1])), constant_values=PAD)
    shape = len(rows) // BEAMS, BEAMS
    return rows.reshape(*shape, TOKENS), found.sequences_scores.numpy().reshape(shape)


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_beams_and_scores_are_those_of_hugging_face(name, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    theirs = make_peer(name, tmp_path)
    theirs.generation_config.decoder_start_token_id = 0
    ours = import_model(tmp_path)
    model = ours.spec.build()
    prompts = _prompts(model.config.vocab_size, "right" if name == "t5" else "left")
    # As eos two tokens that beams do write: the commonest of those without one.
    free, _ = _hugging_face(theirs, prompts, 1.0, (model.config.vocab_size - 1,))
    counts = np.bincount(free.ravel(), minlength=3)
    eos = tuple(np.argsort(-counts[3:])[:2].tolist())
    eos = tuple(token + 3 for token in eos)
    ends = []
    for penalty in (1.0, 2.0, -1.0):
        expected, scores = _hugging_face(theirs, prompts, penalty, eos)
        found = beam_generate(
            model,
            ours.params,
            prompts,
            TextOptions(max_tokens=TOKENS, eos=eos, pad=PAD),
            beams=BEAMS,
            length_penalty=penalty,
        )
        np.testing.assert_allclose(found.scores, scores, atol=1e-4)
        np.testing.assert_array_equal(found.tokens, expected)
        last = np.take_along_axis(expected, np.asarray(found.lengths)[:, :, None] - 1, axis=2)
        ended = np.isin(last[:, :, 0], eos)
        np.testing.assert_array_equal(found.lengths[~ended], TOKENS)
        ends.append(found.lengths[ended])
    ends = np.concatenate(ends)
    assert ends.size > 8 and len(set(ends.tolist())) > 2


@functools.cache
def _tiny(vocab_size=5, **changes):
    model = CausalLM(dataclasses.replace(tiny_model(vocab_size), **changes))
    return model, random_params(model, scale=0.5)


@pytest.mark.parametrize(
    "changes", [{}, {"block": "hstu", "mlp_width": None}], ids=["llama", "hstu"]
)
@pytest.mark.variants(1)
def test_as_many_beams_as_texts_rank_all_of_them(changes):
    size, longest, eos, penalty = 5, 3, 4, 0.7
    model, params = _tiny(size, **changes)
    prompts = _prompts(size, lengths=(3, 2))
    texts = [
        text
        for length in range(1, longest + 1)
        for text in itertools.product(range(size), repeat=length)
        if eos not in text[:-1] and (length == longest or text[-1] == eos)
    ]
    beams = len(texts) + 10
    found = beam_generate(
        model,
        params,
        prompts,
        TextOptions(max_tokens=longest, eos=(eos,)),
        beams=beams,
        length_penalty=penalty,
    )
    forward = jax.jit(lambda rows: jax.nn.log_softmax(model.apply(params, rows, rows >= 0)))
    for row in range(2):
        prompt = np.asarray(prompts.tokens[row])[np.asarray(prompts.valid[row])]
        rows = np.zeros((len(texts), 3 + longest), np.int32)
        for n, text in enumerate(texts):
            rows[n, : len(prompt) + len(text)] = [*prompt, *text]
        steps = np.asarray(forward(rows))[:, len(prompt) - 1 :]
        scores = {
            text: sum(steps[n, at, token] for at, token in enumerate(text)) / len(text) ** penalty
            for n, text in enumerate(texts)
        }
        order = sorted(texts, key=lambda text: -scores[text])
        count, length = len(texts), np.asarray(found.lengths[row])
        best = np.asarray(found.tokens[row])
        assert [tuple(best[k, : length[k]].tolist()) for k in range(count)] == order
        expected = np.array([scores[text] for text in order])
        value = np.asarray(found.scores[row])
        np.testing.assert_allclose(value[:count], expected, atol=1e-4)
        # There are fewer than beams: the rest is marked.
        assert length[count:].tolist() == [0] * 10
        assert np.isneginf(value[count:]).all()
        assert not best[count:].any()


def test_one_beam_is_greedy_and_padding_on_either_side_and_rows_of_it_change_nothing():
    changes = {"positions": "relative", "relative_buckets": 8, "relative_distance": 10}
    model, params = _tiny(30, **changes, window=4, global_every=2, depth=2)
    prompts, options = _prompts(30), TextOptions(max_tokens=9, eos=(7,))
    left = beam_generate(model, params, prompts, options, beams=1)
    greedy = generate(model, params, prompts, options)
    np.testing.assert_array_equal(left.tokens[:, 0], greedy.tokens)
    np.testing.assert_array_equal(left.lengths[:, 0], greedy.lengths)
    total = np.asarray(greedy.logprobs).sum(axis=1) / np.asarray(greedy.lengths)
    np.testing.assert_allclose(np.asarray(left.scores)[:, 0], total, atol=1e-5)
    rolled, there = np.zeros((4, 7), np.int32), np.zeros((4, 7), bool)
    for row in range(3):
        text = np.asarray(prompts.tokens[row])[np.asarray(prompts.valid[row])]
        rolled[row, : len(text)], there[row, : len(text)] = text, True
    right = beam_generate(model, params, Prompts(tokens=rolled, valid=there), options, beams=1)
    np.testing.assert_array_equal(right.tokens[:3], left.tokens[:3])
    np.testing.assert_allclose(right.scores[:3], left.scores[:3], atol=1e-5)
    assert right.lengths[3] == 0 and np.isneginf(right.scores[3]).all()


def test_one_token_needs_no_step():
    model, params = _tiny(30)
    prompts = _prompts(30)
    found = beam_generate(model, params, prompts, TextOptions(max_tokens=1), beams=3)
    scores = jax.jit(lambda *args: jax.nn.log_softmax(model.apply(*args)[:, -1]))
    scores = np.asarray(scores(params, prompts.tokens, prompts.valid))
    order = np.argsort(-scores, axis=1)[:, :3]
    np.testing.assert_array_equal(np.asarray(found.tokens)[:, :, 0], order)
    np.testing.assert_allclose(found.scores, np.take_along_axis(scores, order, 1), atol=1e-5)


def test_beams_that_cannot_be_are_refused():
    model, params = _tiny()
    prompts = _prompts(5)
    run = functools.partial(beam_generate, model, params, prompts)
    with pytest.raises(ConfigError, match="beams must be at least 1, got 0"):
        run(TextOptions(max_tokens=3), beams=0)
    with pytest.raises(ConfigError, match="5 eos tokens leave no other in a vocabulary of 5"):
        run(TextOptions(max_tokens=3, eos=(0, 1, 2, 3, 4)), beams=2)
    with pytest.raises(ConfigError, match="drop prefix"):
        other = EncoderDecoder(model.config)
        both = dataclasses.replace(prompts, prefix=prompts.valid)
        beam_generate(other, params, both, TextOptions(max_tokens=3), beams=2)
