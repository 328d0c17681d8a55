"""An encoder that is cut in two computes what it computes as a whole."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.models import SentenceEncoder, UpperLayers, cut_encoder, lower_states
from jaxrec.testing import write_tiny_encoder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return SentenceEncoder.load(write_tiny_encoder(tmp_path_factory.mktemp("tiny") / "e")).model


@pytest.mark.parametrize("upper", [1, 2])
def test_both_parts_together_are_the_encoder(model, upper):
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(5, 60, (3, 8)), jnp.int32)
    valid = jnp.arange(8)[None] < jnp.array([8, 5, 2])[:, None]
    whole = model.spec.build().apply(model.params, tokens, valid)
    config, params = cut_encoder(model, upper)
    states = lower_states(model, upper, tokens, valid)
    found = UpperLayers(config).apply({"params": params}, states, valid)
    np.testing.assert_allclose(found[valid], whole[valid], atol=1e-5)
    assert not np.allclose(states[valid], whole[valid], atol=0.1)
    np.testing.assert_allclose(
        lower_states(model, 0, tokens, valid)[valid], whole[valid], atol=1e-5
    )


def test_more_layers_than_there_are_is_an_error(model):
    with pytest.raises(ConfigError, match="2 layers has no upper 3"):
        cut_encoder(model, 3)
