"""The loss of the item after a history that is read in both directions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.decode import SearchOptions, beam_search
from jaxrec.ids import IdVocabulary, write_histories
from jaxrec.models import import_model
from jaxrec.objectives import next_item_loss
from jaxrec.testing.brute_force import make_case
from jaxrec.testing.peers import VOCAB, make_peer


@functools.partial(jax.jit, static_argnums=(0, 1))
def _loss(model, vocabulary, params, source, target, key=None):
    return next_item_loss(model, params, source, target, key, vocabulary=vocabulary)


def test_an_encoder_decoder_equals_the_cross_entropy_of_hugging_faces_t5(tmp_path):
    torch = pytest.importorskip("torch")
    theirs = make_peer("t5", tmp_path)
    ours = import_model(tmp_path)
    vocabulary = IdVocabulary(sizes=(9, 14, 8), num_special=VOCAB - 31)
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, size, 6) for size in vocabulary.sizes], axis=1)
    tokens_of = vocabulary.tokens(codes)
    source = write_histories([np.array(h) for h in ([0, 1, 2], [], [5, 3])], tokens_of, 3)
    target = tokens_of[[3, 4, 0]]
    written = np.concatenate([np.zeros((3, 1), int), target[:, :-1]], axis=1)
    with torch.no_grad():
        logits = theirs(
            input_ids=torch.tensor(source.astype(int)),
            attention_mask=torch.tensor((source != 0).astype(int)),
            decoder_input_ids=torch.tensor(written),
        ).logits
    found = _loss(ours.spec.build(), vocabulary, ours.params, source, target)
    for level in range(3):
        rows = vocabulary.level(level)
        labels = torch.tensor(target[:, level].astype(int) - rows.start)
        share = torch.nn.functional.cross_entropy(logits[:, level, rows], labels, reduction="sum")
        assert float(found.parts[f"loss/level_{level}"]) == pytest.approx(float(share), rel=1e-4)
    assert float(found.weight) == 3
    assert float(found.total) == pytest.approx(sum(map(float, found.parts.values())), rel=1e-6)


@pytest.mark.parametrize("kind", ["prefix", "encoder-decoder"])
def test_the_loss_is_minus_the_score_that_decoding_gives_the_items(kind):
    case = make_case(3, (4, 3, 5), 0.5, kind=kind)
    found = beam_search(
        case.model,
        case.params,
        case.catalogue,
        case.prompts,
        SearchOptions(beams=case.items),
    )
    chosen = [5, 0, 17]
    score = sum(
        float(np.asarray(scores)[np.asarray(items) == item][0])
        for item, items, scores in zip(chosen, found.items, found.scores, strict=True)
    )
    target = case.vocabulary.tokens(case.codes)[chosen]
    # Further padding counts for nothing.
    wider = jnp.pad(case.tokens, ((0, 0), (5, 0)))
    loss = _loss(case.model, case.vocabulary, case.params, wider, target)
    assert float(loss.total) == pytest.approx(-score, abs=1e-4)


def test_a_key_turns_dropout_on():
    case = make_case(3, (4, 3), 0.8, kind="encoder-decoder", dropout=0.3)
    target = case.vocabulary.tokens(case.codes)[[2, 3, 4]]
    same = (case.model, case.vocabulary, case.params, case.tokens, target)
    one, other, again = (float(_loss(*same, jax.random.key(n)).total) for n in (0, 1, 0))
    assert one == again != other
