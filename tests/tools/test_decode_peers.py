"""The peers of the decoding benchmarks must find the same items, or their times mean nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.decode import Catalogue, Prompts, SearchOptions, beam_search, beam_widths
from jaxrec.decode.level import NORMALIZE
from jaxrec.ids import IdVocabulary, ItemIndex
from jaxrec.models.spec import ModelSpec
from jaxrec.testing import tiny_model

SIZES, BEAMS = (8, 8, 8), 12


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    spec: ModelSpec
    params: dict
    codes: np.ndarray
    vocabulary: IdVocabulary
    index: ItemIndex
    tokens: jax.Array

    def plain(self, bench, normalize):
        trie = bench("support.padded_trie").PaddedTrie.build(self.codes, SIZES)
        items, scores = bench("support.plain_decode").plain_beam_search(
            self.spec.build(),
            self.params,
            trie,
            self.tokens,
            vocabulary=self.vocabulary,
            beams=BEAMS,
            normalize=normalize,
        )
        return np.asarray(items), np.asarray(scores)


def _case(bench, kind):
    codes = bench("support.catalogues").distinct_codes(200, len(SIZES), SIZES[0], "zipf")
    vocabulary = IdVocabulary(sizes=SIZES)
    config = tiny_model(vocabulary.size, depth=2)
    if kind == "encoder_decoder":
        config = dataclasses.replace(
            config,
            positions="relative",
            activation="relu",
            gated=False,
            query_scale=1.0,
            logit_scale=config.width**-0.5,
        )
    spec = ModelSpec(kind, config)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda s: jnp.asarray(0.4 * rng.normal(size=s.shape), s.dtype),
        nn.meta.unbox(spec.shapes()),
    )
    tokens = vocabulary.tokens(codes[rng.integers(0, len(codes), (3, 3))]).reshape(3, -1)
    # Histories of one, two and three items.
    tokens[0, :6] = tokens[1, :3] = 0
    index = ItemIndex.build(codes, SIZES)
    return Case(
        spec=spec,
        params=params,
        codes=codes,
        vocabulary=vocabulary,
        index=index,
        tokens=jnp.asarray(tokens),
    )


KINDS = ("causal", "encoder_decoder")


@pytest.mark.slow
@pytest.mark.parametrize("normalize", NORMALIZE)
@pytest.mark.parametrize("kind", KINDS)
def test_plain_search_is_the_library_s(bench, kind, normalize):
    case = _case(bench, kind)
    found = beam_search(
        case.spec.build(),
        case.params,
        Catalogue(case.index, case.vocabulary),
        Prompts(tokens=case.tokens),
        SearchOptions(beams=BEAMS, normalize=normalize),
    )
    items, scores = case.plain(bench, normalize)
    np.testing.assert_array_equal(items, found.items)
    np.testing.assert_allclose(scores, found.scores, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["vocabulary", "legal"])
@pytest.mark.parametrize("kind", KINDS)
def test_hugging_face_ranks_the_same_items(bench, kind, normalize):
    pytest.importorskip("torch")
    case = _case(bench, kind)
    items, scores = case.plain(bench, normalize)
    peer = bench("support.peers_decode").Peer(
        case.spec,
        case.params,
        case.codes,
        case.vocabulary,
        np.asarray(case.tokens),
        BEAMS,
        normalize,
    )
    for found in (peer.constrained(scores=True), peer.tuned(scores=True)):
        np.testing.assert_array_equal(found.codes, case.codes[items])
        np.testing.assert_allclose(found.scores, scores, rtol=0, atol=1e-5)
    assert peer.free().codes.shape == (3, BEAMS, len(SIZES))


@pytest.mark.parametrize("dense", [0, 2])
@pytest.mark.parametrize("draw", ["uniform", "zipf"])
def test_padded_gather_chooses_the_same_beams(bench, draw, dense):
    steps, padded = bench("support.search_step"), bench("support.padded_trie")
    codes = bench("support.catalogues").distinct_codes(300, len(SIZES), SIZES[0], draw)
    index, trie = ItemIndex.build(codes, SIZES), padded.PaddedTrie.build(codes, SIZES, dense)
    widths = beam_widths(index, BEAMS)
    logits = steps.random_logits(5, widths, SIZES)
    ours = jax.jit(steps.whole_search, static_argnums=2)(index, logits, widths)
    theirs = jax.jit(padded.whole_padded, static_argnums=2)(trie, logits, widths)
    np.testing.assert_allclose(theirs[0], ours[0], rtol=0, atol=1e-5)
    for found, expected in zip(theirs[1:], ours[1:], strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(trie.item(theirs[3]), index.item(ours[3]))


def test_dead_beams_have_no_children_in_the_padded_trie(bench):
    padded = bench("support.padded_trie")
    codes = np.array([[0, 1], [0, 2], [3, 1]], np.int32)
    trie = padded.PaddedTrie.build(codes, (4, 4), dense=0)
    node, score = jnp.array([[0, -1]], jnp.int32), jnp.array([[-1.0, -jnp.inf]])
    best, parent, code, child = padded.padded_step(
        trie, 1, node, score, jnp.zeros((1, 2, 4), jnp.float32), 3
    )
    np.testing.assert_array_equal(np.isfinite(best), [[True, True, False]])
    np.testing.assert_array_equal(parent[0, :2], [0, 0])
    np.testing.assert_array_equal(code[0, :2], [1, 2])
    np.testing.assert_array_equal(child, [[0, 1, -1]])


def test_floor_counts_weights_cache_and_products(bench):
    roofline = bench("support.roofline")
    config = tiny_model(34, depth=2)
    # width 16, 2 heads of 8, MLP 32: 4 x 16 x 16 + 3 x 16 x 32 weights a block.
    weights, kv = 2 * (4 * 256 + 3 * 512), 16
    peaks = roofline.Peaks(flops=1e30, bandwidth=1.0)
    found = roofline.floor(
        ModelSpec("causal", config), IdVocabulary(sizes=(8, 8)), 3, 10, 5, 4, peaks
    )
    assert found.prefill == 4 * weights
    assert found.steps == 4 * (weights + 2 * 2 * 3 * 10 * kv) + 2 * 4 * 16 * 8
    assert found.prefill_flops == 2 * 30 * weights + 2 * 2 * 3 * 16 * 10 * 10
