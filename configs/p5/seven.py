"""The seven tasks of generative recommendation by one small T5 from scratch, on MovieLens-100K.

    jaxrec train p5/seven
    jaxrec eval runs/p5-seven

Rating, top-N (from the catalogue, or one of 20 candidates), sequential, explanation, review, review
summary and conversation prompts share every batch, with P5's yes-or-no and like-or-dislike
questions beside them. MovieLens has no reviews: explanations, reviews and their titles are
synthetic, made of genres and stars (`data.reviews`), and only show that the mechanism works.

Cost: 8 CPU minutes of training; 11.5 TFLOP in products. Validation on 2026-11-30, seed 0, 300 users
or up to 1,000 rows: one of 20 candidates HR@10 .843 / NDCG@10 .515; sequential .133 / .069;
conversation after up to four turns .107 / .052; straightforward .077 / .038; rating RMSE 1.122 by
the mean; ROUGE-L of synthetic explanations .923, reviews .876 and titles .913. The test is not
measured. All settings are those of the first trial: 1,600 steps are a fraction of what the tasks
take alone, and ratings do not yet reach the item mean (about 1.02). See `p5/rating`,
`p5/sequential` and `p5/direct`.
"""

from jaxrec.runs import SampledEvalConfig
from jaxrec.systems.p5 import P5Config
from jaxrec.train import TrainConfig

ROWS = {
    "rating": 24,
    "rating_yesno": 4,
    "rating_like": 8,
    "straightforward": 8,
    "direct_choose": 12,
    "direct_yesno": 8,
    "sequential": 48,
    "explanation": 4,
    "review": 4,
    "review_title": 4,
    "conversation": 20,
}


def get_config() -> P5Config:
    return P5Config(
        max_targets=50,
        history_users=False,
        tasks=tuple(ROWS),
        rows=tuple(ROWS.values()),
        candidates=20,
        groups=3,
        train=TrainConfig(steps=1600, batch_size=144, lr=2e-3, ema_decay=0.995, eval_every=800),
        eval=SampledEvalConfig(ks=(1, 5, 10), baselines=("popularity", "markov"), valid_users=300),
    )
