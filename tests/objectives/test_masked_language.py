"""BERT's masking against Hugging Face's collator; whole words; pairs of next sentences."""

import dataclasses
import re
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from jaxrec.core import ConfigError, DataError
from jaxrec.data import ReservedTokens, train_reserved, word_starts
from jaxrec.objectives import (
    PairMasking,
    Pairs,
    Phrases,
    mask_for_prediction,
    pair_batches,
    restore_masked,
)

ORDINARY = np.arange(8, 500, dtype=np.int32)
MASK = 4
RESERVED = ReservedTokens(
    pad=0,
    bos=1,
    eos=2,
    mask=MASK,
    sentinels=np.zeros(0, np.int32),
    modes={"R": -1, "S": -1, "X": -1},
    ordinary=ORDINARY,
)


def fates(hidden, labels):
    """Counts of masked, kept and random tokens."""
    masked, kept = hidden == MASK, hidden == labels
    return np.array([masked.sum(), kept.sum(), (~masked & ~kept).sum()])


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 200),
    rate=st.sampled_from([0.05, 0.15, 0.5]),
    whole=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_labels_restore_the_text_and_reserved_tokens_stay(length, rate, whole, seed):
    rng = np.random.default_rng(seed)
    tokens = rng.choice(ORDINARY, length)
    candidates = rng.random(length) < 0.9
    starts = rng.random(length) < 0.5 if whole else None
    masked = mask_for_prediction(tokens, candidates, MASK, ORDINARY, rng, rate, starts)
    assert restore_masked(masked).tolist() == tokens.tolist()
    assert candidates[masked.places].all()
    count = max(1, round(candidates.sum() * rate)) if candidates.any() else 0
    assert len(masked.places) <= count if whole else len(masked.places) == count


def test_shares_of_mask_random_and_kept_are_those_of_hugging_faces_collator():
    import torch
    from transformers import DataCollatorForLanguageModeling

    tokenizer = train_reserved(["the film is a good film"] * 3, 380)
    reserved = ReservedTokens.of(tokenizer, ["mask"])
    rng = np.random.default_rng(0)
    text = rng.choice(reserved.ordinary, (200, 100)).astype(np.int64)
    torch.manual_seed(0)
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    found = collator([{"input_ids": row} for row in torch.tensor(text)])
    chosen = (found["labels"] != -100).numpy()
    theirs_hidden = found["input_ids"].numpy()[chosen]
    theirs = np.array(
        [
            (theirs_hidden == reserved.mask).sum(),
            (theirs_hidden == text[chosen]).sum(),
        ]
    )
    theirs = np.append(theirs, chosen.sum() - theirs.sum())
    ours = np.zeros(3, int)
    for row in text:
        masked = mask_for_prediction(row, np.ones(100, bool), reserved.mask, reserved.ordinary, rng)
        assert len(masked.places) == 15
        hidden = masked.tokens[masked.places]
        ours += [
            (hidden == reserved.mask).sum(),
            (hidden == masked.labels).sum(),
            ((hidden != reserved.mask) & (hidden != masked.labels)).sum(),
        ]
    # A random token is the same one now and then.
    same = 0.1 / len(reserved.ordinary)
    shares = np.array([0.8, 0.1 + same, 0.1 - same])
    assert stats.chisquare(ours, shares * ours.sum()).pvalue > 1e-3
    assert stats.chi2_contingency([ours, theirs]).pvalue > 1e-3


def test_every_token_is_predicted_as_often_as_every_other():
    rng, counts = np.random.default_rng(0), np.zeros(40)
    for _ in range(2000):
        masked = mask_for_prediction(np.arange(8, 48), np.ones(40, bool), MASK, ORDINARY, rng)
        counts[masked.places] += 1
    assert counts.sum() == 2000 * 6
    assert stats.chisquare(counts).pvalue > 1e-3


def test_whole_words_are_predicted_whole():
    rng = np.random.default_rng(0)
    starts = np.zeros(60, bool)
    starts[[0, 3, 4, 10, 12, 20, 21, 25, 30, 41, 44, 50]] = True
    word = np.cumsum(starts)
    sizes = np.bincount(word)
    total = 0
    for _ in range(300):
        masked = mask_for_prediction(
            np.arange(8, 68), np.ones(60, bool), MASK, ORDINARY, rng, 0.15, starts
        )
        assert 0 < len(masked.places) <= 9
        total += len(masked.places)
        words, counts = np.unique(word[masked.places], return_counts=True)
        assert (counts == sizes[words]).all()
    assert total / 300 > 8  # smaller words fill what a large one leaves


def test_words_begin_with_a_space_a_sign_or_a_new_line():
    tokenizer = train_reserved(["a good film, a good\nfilm"] * 9, 400)
    starts = word_starts(tokenizer)
    tokens = tokenizer.encode("a goodness, good\nx")
    pieces = [tokenizer.decode([t]) for t in tokens]
    begins = [piece for piece, first in zip(pieces, starts[tokens], strict=True) if first]
    assert " good" in begins and "," in begins
    assert "n" not in begins and "e" not in begins


def documents(count=5, length=200):
    return [np.arange(8 + 300 * d, 8 + 300 * d + length, dtype=np.int32) for d in range(count)]


def test_half_of_the_pairs_go_on_and_the_others_join_two_documents():
    masking = PairMasking(length=32, reserved=RESERVED)
    rows = Pairs(masking, documents(), seed=0).draw(range(1000))
    follows = np.array([row["follows"] for row in rows])
    assert stats.binomtest(int(follows.sum()), 1000).pvalue > 1e-3
    for row in rows:
        masked = row["weights"] > 0
        text = row["tokens"].copy()
        text[row["places"][masked]] = row["labels"][masked]
        text = text[row["valid"]]
        first_end, last = np.flatnonzero(text == 2)
        assert text[0] == 1 and last == len(text) - 1
        first, second = text[1:first_end], text[first_end + 1 : last]
        assert (np.diff(first) == 1).all() and (np.diff(second) == 1).all()
        together = first[0] // 300 == second[0] // 300
        assert row["follows"] == together
        if together:
            assert second[0] == first[-1] + 1
        types = row["types"][row["valid"]]
        assert types.tolist() == [0] * (first_end + 1) + [1] * (last - first_end)
        assert masked.sum() == round(0.15 * (len(text) - 3))


def test_pair_batches_resume_and_are_shared_among_hosts():
    pairs = Pairs(PairMasking(length=16, reserved=RESERVED), documents(), seed=2)
    whole = iter(pair_batches(pairs, batch_size=4))
    first = next(whole)
    state = whole.get_state()
    second = next(whole)
    other = iter(pair_batches(pairs, batch_size=4))
    other.set_state(state)
    again = next(other)
    assert all((second[name] == again[name]).all() for name in second)
    half = next(iter(pair_batches(pairs, batch_size=4, shard=(1, 2))))
    assert (half["tokens"] == first["tokens"][2:]).all()


def test_one_document_and_a_short_length_are_errors():
    masking = PairMasking(length=32, reserved=RESERVED)
    with pytest.raises(DataError, match=r"needs 2 documents .* 1 of 2 are so long"):
        Pairs(masking, [np.arange(50), np.arange(2)], seed=0)
    with pytest.raises(ConfigError, match="length of 6 tokens cannot hold two parts"):
        PairMasking(length=6, reserved=RESERVED)


def test_a_tokenizer_without_reserved_tokens_is_named_with_what_it_lacks():
    from jaxrec.data import add_reserved, train_bpe

    plain = train_bpe(["a film"], 300)
    with pytest.raises(ConfigError, match=r"no mask, no sentinels .* no modes .*add_reserved"):
        ReservedTokens.of(plain, ["eos", "mask", "sentinels", "modes"])
    before = plain.get_vocab()
    assert add_reserved(plain) == 104
    reserved = ReservedTokens.of(plain, ["eos", "mask", "sentinels", "modes"])
    assert reserved.sentinels.tolist() == list(range(len(plain) - 1, len(plain) - 101, -1))
    assert before.items() <= plain.get_vocab().items()
    assert not set(reserved.ordinary) & {reserved.mask, reserved.eos, *reserved.sentinels}
    assert dataclasses.asdict(reserved)["pad"] == plain.pad_token_id


def test_phrases_are_found_as_a_regular_expression_finds_them():
    """The referee reads letters; words are tokens of one letter with a space in front."""
    rng = np.random.default_rng(1)
    words = ["ab", "abc", "bd", "ca"]  # phrases; each letter is a word
    phrases = Phrases.of([[ord(letter) for letter in word] for word in words])
    for _ in range(200):
        text = "".join(rng.choice(list("abcd"), 25))
        found = phrases.join(np.array([ord(x) for x in text]), np.ones(25, bool))
        begins = np.ones(25, bool)
        for match in re.finditer("abc|ab|bd|ca", text):
            begins[match.start() + 1 : match.end()] = False
        assert found.tolist() == begins.tolist()


def test_phrases_do_not_end_inside_a_word():
    phrases = Phrases.of([(5, 6)])
    starts = np.array([True, True, False, True, True])
    # The first 5 6 goes on with a token that continues the word 6, the second ends with the text.
    assert phrases.join(np.array([5, 6, 7, 5, 6]), starts).tolist() == [
        *(True, True, False),
        *(True, False),
    ]


def test_pairs_hide_a_skill_whole_or_not_at_all():
    skills = ["machine learning", "wine tasting", "SQL"]
    texts = [f"Main duties: {a}, {b}. You bring {c}." for a, b, c in permutations(skills)]
    tokenizer = train_reserved(texts * 3, 400)
    reserved = ReservedTokens.of(tokenizer, ["bos", "eos", "mask"])
    masking = PairMasking(
        length=90,
        reserved=reserved,
        rate=0.4,
        starts=word_starts(tokenizer),
        phrases=Phrases.encode(tokenizer, skills),
    )
    document = np.array(tokenizer.encode(texts[0], add_special_tokens=False), np.int32)
    hidden = 0
    for seed in range(60):
        row = masking.example(document, document, True, np.random.default_rng(seed))
        places = set(row["places"][row["weights"] > 0].tolist())
        text = row["tokens"].copy()
        text[row["places"][row["weights"] > 0]] = row["labels"][row["weights"] > 0]
        for skill in skills:
            own = tokenizer.encode(f" {skill}", add_special_tokens=False)
            for start in range(len(text) - len(own)):
                if text[start : start + len(own)].tolist() == own:
                    inside = [start + k in places for k in range(len(own))]
                    assert all(inside) or not any(inside)
                    hidden += all(inside)
    assert hidden > 20


def test_covered_tokens_are_those_that_a_regular_expression_finds():
    rng = np.random.default_rng(2)
    words = ["ab", "abc", "bd", "c"]
    phrases = Phrases.of([[ord(letter) for letter in word] for word in words])
    for _ in range(200):
        text = "".join(rng.choice(list("abcd"), 25))
        covered = np.zeros(25, bool)
        for match in re.finditer("abc|ab|bd|c", text):
            covered[match.start() : match.end()] = True
        found = phrases.cover(np.array([ord(x) for x in text]), np.ones(25, bool))
        assert found.tolist() == covered.tolist()


def test_a_phrase_of_one_token_is_no_part_of_a_longer_word():
    phrases, starts = Phrases.of([(5,)]), np.array([True, False, True, True, False])
    found = phrases.cover(np.array([4, 5, 5, 5, 6]), starts)
    assert found.tolist() == [False, False, True, False, False]


def test_salient_pairs_hide_phrases_alone_as_often_as_asked_for():
    """Phrases are the tokens 20 and 21 in a row; every other token is a word of its own."""
    text = np.tile(np.array([30, 31, 20, 21, 32, 33], np.int32), 3)
    masking = PairMasking(
        length=2 * len(text) + 3,
        reserved=RESERVED,
        rate=0.4,
        starts=np.ones(500, bool),
        phrases=Phrases.of([(20, 21)]),
        salient=0.7,
    )

    def labels(own, seed):
        row = masking.example(own, own, True, np.random.default_rng(seed))
        return set(row["labels"][row["weights"] > 0].tolist())

    alone = [labels(text, seed) <= {20, 21} for seed in range(400)]
    # 14 tokens of 36 are hidden otherwise, which are never all of phrases.
    assert np.mean(alone) == pytest.approx(0.7, abs=0.07)
    # A text without phrases hides its words.
    assert all(labels(np.arange(40, 50, dtype=np.int32), seed) for seed in range(5))


def test_the_share_of_pairs_that_follow_is_the_one_asked_for():
    masking = PairMasking(length=16, reserved=RESERVED)
    # Each document has tokens of its own, so a pair shows where its parts come from.
    documents = [np.full(13, 20 + number, np.int32) for number in range(40)]
    pairs = Pairs(masking, documents, seed=0, following=0.8)
    rows = pairs.draw(range(800))
    for row in rows:
        text = row["tokens"].copy()
        count = int(row["weights"].sum())
        text[row["places"][:count]] = row["labels"][:count]
        real = row["valid"] & (text >= 20)
        assert (len(set(text[real].tolist())) == 1) == bool(row["follows"])
    count = sum(int(row["follows"]) for row in rows)
    assert stats.binomtest(count, 800, 0.8).pvalue > 1e-3


def test_phrases_without_words_are_refused():
    with pytest.raises(ConfigError, match="give starts too"):
        PairMasking(length=20, reserved=RESERVED, phrases=Phrases.of([(5, 6)]))
