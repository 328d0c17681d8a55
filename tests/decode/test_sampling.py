import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrec.core import ConfigError
from jaxrec.decode import GREEDY, Sampling, filter_logits, sample

SETTINGS = [
    Sampling(),
    Sampling(temperature=0.7),
    Sampling(top_k=1),
    Sampling(top_k=5),
    Sampling(top_k=500),
    Sampling(top_p=0.05),
    Sampling(top_p=0.6),
    Sampling(temperature=1.9, top_p=0.95),
    Sampling(temperature=0.5, top_k=7, top_p=0.8),
    Sampling(temperature=3.0, top_k=40, top_p=0.9),
]


def _logits(rows=64, size=50, seed=0):
    return jnp.asarray(2.0 * np.random.default_rng(seed).normal(size=(rows, size)), jnp.float32)


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_the_filter_is_that_of_hugging_face(sampling):
    torch = pytest.importorskip("torch")
    warpers = pytest.importorskip("transformers.generation.logits_process")
    logits = _logits()
    expected = torch.from_numpy(np.array(logits))
    expected = warpers.TemperatureLogitsWarper(sampling.temperature)(None, expected)
    if sampling.top_k is not None:
        expected = warpers.TopKLogitsWarper(sampling.top_k)(None, expected)
    if sampling.top_p is not None:
        expected = warpers.TopPLogitsWarper(sampling.top_p)(None, expected)
    found = np.asarray(filter_logits(logits, sampling))
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected.numpy()))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)


def test_the_nucleus_is_the_fewest_best_tokens_of_that_probability():
    probabilities = np.array([0.1, 0.4, 0.05, 0.25, 0.2])
    logits = jnp.asarray(np.log(probabilities), jnp.float32)
    for top_p, expected in [
        (0.01, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),
        (0.66, [1, 3, 4]),
        (0.94, [0, 1, 3, 4]),
        (0.96, [0, 1, 2, 3, 4]),
    ]:
        kept = np.isfinite(filter_logits(logits, Sampling(top_p=top_p)))
        assert np.flatnonzero(kept).tolist() == expected


def test_tokens_that_tie_with_the_last_one_are_kept():
    logits = jnp.array([2.0, 1.0, 1.0, 1.0, 0.0])
    for sampling in (Sampling(top_k=2), Sampling(top_p=0.5), Sampling(top_k=2, top_p=0.5)):
        kept = np.isfinite(filter_logits(logits, sampling))
        assert kept.tolist() == [True, True, True, True, False]
    # The best alone has e / (e + 3) = 0.475 of the four that top k leaves, ties and all.
    kept = np.isfinite(filter_logits(logits, Sampling(top_k=2, top_p=0.47)))
    assert kept.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("sampling", [SETTINGS[1], SETTINGS[3], SETTINGS[6], SETTINGS[8]], ids=str)
def test_drawn_frequencies_are_the_filtered_softmax(sampling):
    draws, size = 40_000, 12
    logits = _logits(1, size)[0]
    rows = jnp.broadcast_to(logits, (draws, size))
    tokens = sample(jax.random.key(1), rows, sampling)
    assert tokens.shape == (draws,) and tokens.dtype == jnp.int32
    counts = np.bincount(np.asarray(tokens), minlength=size)
    expected = np.asarray(jax.nn.softmax(filter_logits(logits, sampling)), np.float64) * draws
    possible = expected > 0
    assert counts[~possible].sum() == 0
    expected = expected[possible] / expected.sum() * draws
    assert stats.chisquare(counts[possible], expected).pvalue > 1e-3


def test_keys_decide_the_draw():
    logits = _logits()
    draw = [np.asarray(sample(jax.random.key(seed), logits, Sampling())) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draw[0], draw[1])
    assert (draw[0] != draw[2]).any()


def test_greedy_takes_the_best_and_needs_no_key():
    logits = _logits()
    np.testing.assert_array_equal(sample(None, logits, GREEDY), np.argmax(logits, axis=-1))
    with pytest.raises(ConfigError, match="greedy"):
        filter_logits(logits, GREEDY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.5}, r"temperature must be 0 .* got -0\.5"),
        ({"temperature": float("nan")}, "temperature .* got nan"),
        ({"top_k": 0}, "top_k must be at least 1.* got 0"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\].* got 0\.0"),
        ({"top_p": 1.1}, r"top_p .* got 1\.1"),
        ({"temperature": 0.0, "top_k": 3}, "ignores top_k 3 .*drop them"),
    ],
)
def test_bad_settings_are_refused_by_name_and_value(settings, message):
    with pytest.raises(ConfigError, match=message):
        Sampling(**settings)


def test_a_missing_or_untyped_key_is_refused():
    with pytest.raises(ConfigError, match=r"temperature 1\.0 needs a random key"):
        sample(None, _logits(), Sampling())
    with pytest.raises(ConfigError, match=r"typed.*uint32"):
        sample(jnp.zeros(2, jnp.uint32), _logits(), Sampling())
