"""The figure of score against KL in a report."""

import re

import numpy as np

from jaxrec.eval import RunParts, SystemFacts, render
from jaxrec.systems.generative.run import FACTS


def divergence(rows, budget=0.0, score="score"):
    facts = SystemFacts(name="PPO on text", has_ids=False, score=score, kl_budget=budget)
    page = render(RunParts(run="runs/a", config={"data": {}}, system=facts, metrics=rows))
    return re.search(r'<svg role="img" aria-label="Score against KL.*?</svg>', page, re.DOTALL)


def ppo_rows():
    scores, kls = (0.8, 3.0, 6.5, 9.1), (0.0, 2.5, 7.25, 15.3)
    return [
        {"step": step, "loss": 0.1 * step, "score": scores[step // 8], "kl": kls[step // 8]}
        for step in range(0, 32, 4)  # two steps on each rollout
    ]


def test_score_is_drawn_against_kl_with_a_point_for_each_rollout():
    svg = divergence(ppo_rows())[0]
    assert "from 0.8000 at a KL of 0.0000 in step 0 to 9.1000 at a KL of 15.3000 in step 24" in svg
    (points,) = re.findall(r'<g id="divergence-PathCollection_1">.*?</g>\n? *</g>', svg, re.DOTALL)
    places = re.findall(r'<use [^>]*x="([0-9.]+)" y="([0-9.]+)"', points)
    assert len(places) == 4
    # The places in the figure are those of the numbers, up to a scale; up is less in SVG.
    x, y = np.array(places, float).T
    np.testing.assert_allclose(
        (x - x[0]) / (x[3] - x[0]), np.array([0, 2.5, 7.25, 15.3]) / 15.3, atol=1e-4
    )
    np.testing.assert_allclose(
        (y - y[0]) / (y[3] - y[0]), np.array([0, 2.2, 5.7, 8.3]) / 8.3, atol=1e-4
    )
    assert "budget" not in svg and "step 24</text>" in svg


def test_the_kl_budget_is_a_line_where_it_is_set():
    plain, limited = (divergence(ppo_rows(), budget)[0] for budget in (0.0, 10.0))
    assert "the KL budget is 10" in limited and "KL budget</text>" in limited
    assert limited.count("<path") > plain.count("<path")


def test_aligned_recommenders_have_their_reward_against_kl():
    rows = [{"step": n, "loss": 0.1, "reward": 0.1 * n, "kl": 0.01 * n} for n in range(3)]
    page = render(RunParts(run="runs/a", config={"data": {}}, system=FACTS, metrics=rows))
    assert "Reward against KL: from 0.0000 at a KL of 0.0000 in step 0 to 0.2000" in page


def test_a_run_without_score_and_kl_has_no_such_figure():
    assert divergence([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4, "score": 1.0}]) is None
    assert divergence([]) is None
    assert divergence(ppo_rows(), score="") is None
