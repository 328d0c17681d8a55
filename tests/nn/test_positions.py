import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.nn import (
    RopeScaling,
    positions_of,
    relative_buckets,
    rotary_frequencies,
    rotate,
    rotation,
)


def _rotate(x, positions, theta):
    turn = rotation(jnp.asarray(positions, jnp.int32), rotary_frequencies(x.shape[-1], theta))
    return rotate(jnp.asarray(x, jnp.float32), turn)


@pytest.mark.parametrize("theta", [10_000.0, 100.0])
def test_rotate_equals_hugging_face_llama(theta):
    torch = pytest.importorskip("torch")
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = pytest.importorskip("transformers").LlamaConfig(
        hidden_size=16,
        num_attention_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
    )
    rng = np.random.default_rng(0)
    query, key = (rng.normal(size=(2, 5, 2, 8)).astype(np.float32) for _ in range(2))
    # Rows of different offsets, a repeat and a large position.
    positions = np.array([[0, 1, 2, 3, 4], [7, 7, 90, 8, 511]], np.int32)
    cos, sin = llama.LlamaRotaryEmbedding(config)(
        torch.tensor(query), torch.tensor(positions, dtype=torch.int64)
    )
    theirs = llama.apply_rotary_pos_emb(
        torch.tensor(query).transpose(1, 2), torch.tensor(key).transpose(1, 2), cos, sin
    )
    for x, y in zip((query, key), theirs, strict=True):
        ours = _rotate(x, positions, theta)
        np.testing.assert_allclose(ours, y.transpose(1, 2).numpy(), atol=5e-5)


def test_rotate_turns_each_pair_by_its_own_angle():
    # The definition in float64, pair by pair.
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1, 3, 1, 6))
    positions, theta = np.array([[0, 5, 11]]), 50.0
    expected = np.empty_like(x)
    for t, position in enumerate(positions[0]):
        for i in range(3):
            pair = complex(x[0, t, 0, i], x[0, t, 0, i + 3])
            pair *= np.exp(1j * position * theta ** (-2 * i / 6))
            expected[0, t, 0, [i, i + 3]] = pair.real, pair.imag
    ours = _rotate(x, positions, theta)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_positions_count_valid_tokens_from_zero():
    valid = jnp.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
    expected = [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4], [0, 0, 0, 0, 0]]
    found = positions_of(valid)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, expected)


def test_positions_start_anew_in_every_packed_sequence():
    valid = jnp.array([[1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 1]], bool)
    segments = jnp.array([[0, 0, 1, 1, 1, 1], [7, 7, 7, 3, 5, 5]], jnp.int32)
    expected = [[0, 1, 0, 1, 2, 2], [0, 0, 1, 0, 0, 1]]
    np.testing.assert_array_equal(positions_of(valid, segments), expected)


@pytest.mark.parametrize(
    ("scaling", "parameters"),
    [
        (RopeScaling(kind="linear", factor=4.0), {"rope_type": "linear", "factor": 4.0}),
        (
            RopeScaling(kind="llama3", factor=8.0, low=1.0, high=4.0, original=64),
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        ),
    ],
)
def test_stretched_frequencies_equal_hugging_face(scaling, parameters):
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = pytest.importorskip("transformers").LlamaConfig(
        hidden_size=64,
        num_attention_heads=2,
        rope_parameters={**parameters, "rope_theta": 500.0},
        max_position_embeddings=512,
    )
    theirs = llama.LlamaRotaryEmbedding(config).inv_freq.numpy()
    ours = rotary_frequencies(32, 500.0, scaling)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert not np.allclose(ours, rotary_frequencies(32, 500.0))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("buckets", "reach"), [(32, 128), (8, 20)])
def test_relative_buckets_equal_hugging_face_t5(causal, buckets, reach):
    torch = pytest.importorskip("torch")
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    distance = np.arange(-300, 301)
    theirs = t5.T5Attention._relative_position_bucket(
        torch.tensor(-distance), bidirectional=not causal, num_buckets=buckets, max_distance=reach
    )
    ours = relative_buckets(jnp.asarray(distance, jnp.int32), buckets, reach, causal)
    np.testing.assert_array_equal(ours, theirs.numpy())
