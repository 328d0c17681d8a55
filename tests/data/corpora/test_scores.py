"""Scores: probabilities that sum to one, texts that are told apart, variates of the right law."""

import math

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data.corpora import (
    LanguageModel,
    NgramModel,
    QualityClassifier,
    Scores,
    Tokenizer,
    encode_documents,
    pareto_keeps,
    train_tokenizer,
)

TEXTS = ["a b a b a c", "b b a", "c a b", "a"]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_of_the_next_word_sum_to_one(order):
    model = NgramModel(TEXTS, order=order)
    for context in ("", "a ", "b ", "a b ", "z ", "c a "):
        # "z" stands for the one word more that the model has never seen.
        last = [model.log_probabilities(context + word)[-1] for word in "abcz"]
        assert np.exp(last).sum() == pytest.approx(1.0, abs=1e-12), context


def test_a_bigram_has_the_probability_of_witten_bell():
    # 13 words; "a" 6 times, 3 of them followed by "b" and one by "c". P(b) from the unigrams.
    model = NgramModel(TEXTS, order=2)
    unigram = (5 + 3 / 4) / (13 + 3)
    assert math.exp(model.log_probabilities("b")[0]) == pytest.approx(unigram)
    expected = (3 + 2 * unigram) / (4 + 2)
    assert math.exp(model.log_probabilities("a b")[1]) == pytest.approx(expected)
    assert model.perplexity("a b") == pytest.approx(
        math.exp(-np.mean(model.log_probabilities("a b")))
    )
    assert model.perplexity("...") == math.inf
    with pytest.raises(DataError, match="have no words"):
        NgramModel(["..."])


def test_a_classifier_and_a_language_model_tell_new_texts_apart():
    good = [f"the essay number {n} on the history of film and of its makers" for n in range(20)]
    bad = [f"click here to buy {n} cheap pills now" for n in range(20)]
    score = QualityClassifier(good, bad)
    assert score("an essay on the makers of film") > 0.8 > 0.2 > score("buy cheap pills here")
    german = ["der Film ist gut und die Musik auch", "das Haus am Fluss und der Garten"]
    model = LanguageModel({"en": good, "de": german * 5})
    assert [model(text)[0] for text in ("the film of the makers", "die Musik im Garten")] == [
        "en",
        "de",
    ]
    with pytest.raises(DataError, match="at least two classes"):
        QualityClassifier([], bad)


@pytest.mark.parametrize("score", [0.0, 0.5, 0.9])
def test_low_scores_are_kept_as_often_as_a_pareto_variate_says(score):
    kept = np.mean([pareto_keeps(score, f"a#{n}", 9, seed=1) for n in range(20_000)])
    # numpy's pareto is the Lomax distribution, whose tail is (1 + x)^-alpha.
    drawn = np.mean(np.random.default_rng(0).pareto(9, 200_000) > 1 - score)
    assert kept == pytest.approx(drawn, abs=0.01)
    assert pareto_keeps(1.0, "a", 9)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_tokenizer_has_its_reserved_tokens_and_splits_digits(kind):
    texts = ["the film of 1994 and 1995, said 1994 people"] * 20
    settings = Tokenizer(kind=kind, vocab_size=520, sentinels=3, split_digits=True)
    tokenizer = train_tokenizer(settings, texts)
    known = tokenizer.get_vocab()
    for token in (
        "<pad>",
        "<s>",
        "</s>",
        "<unk>",
        "<mask>",
        "<extra_id_0>",
        "<extra_id_2>",
        "[NLG]",
    ):
        assert tokenizer.convert_tokens_to_ids(token) == known[token]
        assert tokenizer.encode(token, add_special_tokens=False)[-1] == known[token]
    assert (tokenizer.pad_token, tokenizer.mask_token) == ("<pad>", "<mask>")
    assert len(tokenizer) <= 520
    (tokens,) = encode_documents(tokenizer, ["in 1994"])
    pieces = tokenizer.convert_ids_to_tokens(tokens)
    assert [piece for piece in pieces if any(map(str.isdigit, piece))] == ["1", "9", "9", "4"]
    text = "the film <mask> of [NLG] 1994</s>"
    (tokens,) = encode_documents(tokenizer, [text])
    assert not {known["<mask>"], known["[NLG]"], known["</s>"]} & set(tokens)
    assert tokenizer.decode(tokens) == text
    with pytest.raises(
        ConfigError,
        match="--tokenizer: vocab_size 100 cannot hold 256 bytes and 108 reserved tokens",
    ):
        train_tokenizer(Tokenizer(vocab_size=100), texts)


def test_settings_of_scores_that_contradict_each_other_are_refused():
    for settings, message in [
        ({"min_perplexity": 9.0, "max_perplexity": 3.0}, "no document would be kept"),
        ({"languages": ("en=a", "de=b"), "keep_languages": ("fr",)}, "'fr' is not among"),
        ({"bad": ("a",)}, "belong together"),
    ]:
        with pytest.raises(ConfigError, match=message):
            Scores(**settings)
