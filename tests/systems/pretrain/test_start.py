"""Pre-training that begins with vectors of co-occurrence instead of random embeddings."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxrec.core import DataError
from jaxrec.data import train_reserved
from jaxrec.models import init_function
from jaxrec.systems.pretrain import (
    ObjectiveConfig,
    PretrainConfig,
    PretrainDataConfig,
    StartConfig,
    flavour,
)
from jaxrec.systems.pretrain.corpus import encode
from jaxrec.systems.pretrain.objective import Learning
from jaxrec.systems.pretrain.start import begin_with, token_vectors
from jaxrec.train import TrainConfig, make_plan

TOPICS = (("flour", "oven", "dough", "yeast"), ("brick", "mortar", "crane", "scaffold"))


def made(objective="mlm_nsp", backbone="encoder", width=4, **more):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.permutation(TOPICS[n % 2])) for n in range(60)]
    tokenizer = train_reserved(texts, 420)
    config = PretrainConfig(
        data=PretrainDataConfig(name="tiny"),
        objective=ObjectiveConfig(name=objective),
        backbone=backbone,
        length=16,
        model=flavour(backbone, width=width, depth=1, num_heads=2, mlp_width=8),
        start=StartConfig(embeddings="cooccurrence"),
        train=TrainConfig(steps=2, batch_size=2, eval_every=2),
        **more,
    )
    learning = Learning.of(config, tokenizer)
    return learning, encode(tokenizer, texts, learning.reserved.eos)


@pytest.mark.parametrize(("objective", "backbone"), [("mlm_nsp", "encoder"), ("lm", "causal")])
def test_only_the_embedding_table_changes_and_its_scale_stays(objective, backbone):
    learning, encoded = made(objective, backbone)
    vectors = token_vectors(learning, encoded)
    plan = make_plan(
        init_function(learning.model), learning.loss, learning.example(), learning.config.train
    )
    drawn = plan.initialize(jax.random.key(plan.config.seed))
    begun = begin_with(plan, vectors)
    flat = [
        {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (drawn, begun))
    ]
    changed = [name for name in flat[0] if (flat[0][name] != flat[1][name]).any()]
    assert len(changed) == 1 and "embedding" in changed[0]
    before, after = flat[0][changed[0]], flat[1][changed[0]]
    known = vectors.any(axis=1)
    # Reserved tokens occur in no text, so they keep what was drawn.
    assert not known[learning.reserved.mask]
    np.testing.assert_array_equal(before[~known], after[~known])
    assert np.sqrt((after[known] ** 2).mean()) == pytest.approx(np.sqrt((before**2).mean()))


def test_words_of_one_text_begin_near_one_another():
    learning, encoded = made()
    vectors = token_vectors(learning, encoded)
    words = [
        [learning.tokenizer.encode(f" {word}", add_special_tokens=False) for word in topic]
        for topic in TOPICS
    ]
    baking, building = (np.array([tokens[0] for tokens in topic]) for topic in words)
    inside = vectors[baking] @ vectors[baking].T
    assert inside.min() > (vectors[baking] @ vectors[building].T).max() + 0.5


def test_without_the_option_everything_is_drawn_and_too_wide_a_model_is_refused():
    learning, encoded = made()
    plain = dataclasses.replace(learning.config, start=StartConfig())
    assert token_vectors(dataclasses.replace(learning, config=plain), encoded) is None
    with pytest.raises(DataError, match="give more text, or a smaller width"):
        token_vectors(*made(width=256))
