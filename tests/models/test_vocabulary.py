"""New tokens: what stays, how their rows are drawn, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec, Pretrained, TransformerConfig, extend_vocabulary, untie
from jaxrec.testing import random_params

OLD, NEW = 19, 619


def _model(kind="causal", **settings):
    config = TransformerConfig(vocab_size=OLD, width=8, depth=1, **settings)
    spec = ModelSpec(kind, config)
    return Pretrained(spec=spec, params=random_params(spec.build()))


def _logits(model):
    tokens = jnp.asarray([[3, 7, 18, 2]], jnp.int32)
    return np.asarray(model.spec.build().apply(model.params, tokens, tokens > 0))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_old_tokens_keep_their_logits_and_the_tree_fits_the_new_config(tied):
    model = _model(tie_embeddings=tied)
    larger = extend_vocabulary(model, NEW, jax.random.key(0))
    config = dataclasses.replace(model.spec.config, vocab_size=NEW)
    assert larger.spec == dataclasses.replace(model.spec, config=config)
    shapes = jax.tree.map(jnp.shape, larger.params["params"])
    assert shapes == jax.tree.map(jnp.shape, random_params(larger.spec.build())["params"])
    np.testing.assert_allclose(_logits(larger)[..., :OLD], _logits(model), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "path"),
    [("causal", "embedding/table"), ("causal", "head/table"), ("masked", "head/bias")],
)
def test_new_rows_are_the_mean_of_the_old_with_a_hundredth_of_their_deviation(kind, path):
    model = _model(kind, tie_embeddings=False, **({"norm": "layer"} if kind == "masked" else {}))
    larger = extend_vocabulary(model, NEW, jax.random.key(1))

    def leaf(tree):
        for name in path.split("/"):
            tree = tree[name]
        return np.asarray(tree, np.float64)

    old, rows = leaf(model.params["params"]), leaf(larger.params["params"])
    np.testing.assert_array_equal(rows[:OLD], old)
    noise = (rows[OLD:] - old.mean(0)) / old.std(0)
    # 600 draws of every column: their mean and deviation are off by at most 5 standard errors.
    assert np.abs(noise.mean(0)).max() < 5 * 0.01 / 600**0.5
    np.testing.assert_allclose(noise.std(0), 0.01, rtol=5 / 1200**0.5)
    assert len(np.unique(rows, axis=0)) == NEW


def test_embedding_and_head_get_different_noise():
    model = _model(tie_embeddings=False)
    params = extend_vocabulary(model, NEW, jax.random.key(0)).params["params"]
    embedding, head = (params[name]["table"][OLD:] for name in ("embedding", "head"))
    correlation = np.corrcoef(np.ravel(embedding), np.ravel(head))[0, 1]
    assert abs(correlation) < 0.3


def test_the_vocabulary_does_not_shrink():
    same = extend_vocabulary(_model(), OLD, jax.random.key(0))
    np.testing.assert_array_equal(_logits(same), _logits(_model()))
    with pytest.raises(ConfigError, match="size 18 is below the model's 19 tokens"):
        extend_vocabulary(_model(), 18, jax.random.key(0))


def test_an_untied_head_computes_the_same_until_it_is_changed():
    model = _model()
    free = untie(model)
    np.testing.assert_array_equal(_logits(free), _logits(model))
    params = {
        **free.params["params"],
        "head": {"table": 2 * free.params["params"]["head"]["table"]},
    }
    changed = dataclasses.replace(free, params={"params": params})
    np.testing.assert_allclose(_logits(changed), 2 * _logits(model), rtol=1e-5)
