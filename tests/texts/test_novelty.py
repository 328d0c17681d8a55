import numpy as np
import pytest
from rouge_score import rouge_scorer

from jaxrec.texts import NoveltyPool

VOCABULARY = ["write", "a", "poem", "about", "the", "Sea", "it's", "3-D", "naïve", "--", "go", "to"]


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_rouge_score(seed):
    rng = np.random.default_rng(seed)

    def text():
        return " ".join(rng.choice(VOCABULARY, rng.integers(0, 40)))

    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    pool = NoveltyPool()
    for _ in range(40):
        new = text()
        expected = [scorer.score(new, old)["rougeL"].fmeasure for old in pool.texts]
        np.testing.assert_allclose(pool.scores(new), expected, atol=1e-12)
        if expected:
            assert pool.nearest(new)[1] == pytest.approx(max(expected))
        pool.add(new)


def test_an_empty_pool_is_like_nothing():
    assert NoveltyPool().nearest("Say hi.") == ("", 0.0)
    assert NoveltyPool().scores("Say hi.").shape == (0,)
