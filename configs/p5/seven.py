"""The seven tasks of generative recommendation by one small T5 from scratch, on MovieLens-100K.

    jaxrec train p5/seven
    jaxrec eval runs/p5-seven

Rating, top-N (from the catalogue, or one of 20 candidates), sequential, explanation, review, review
summary and conversation prompts share every batch, with P5's yes-or-no and like-or-dislike
questions beside them. MovieLens has no reviews: explanations, reviews and their titles are
synthetic, made of genres and stars (`data.reviews`), and only show that the mechanism works.

Result on 2026-11-30, seed 0, on the test items of all users, with seen items removed:

    task                   model                              best baseline
    straightforward        HR@10 .073 [.057, .090]            Markov chain .145 [.124, .169]
    sequential             HR@10 .109 [.090, .129]            Markov chain .145 [.124, .169]
    conversation           HR@10 .105 [.085, .125]            none; after the last turn
    direct_choose          HR@10 .837 [.812, .860] of 20      popularity, see below
    direct_yesno           AUC .730 [.710, .750]              none
    rating                 RMSE 1.129                         user and item bias .948
    rating_yesno           AUC .642 [.631, .652]              user and item bias .759
    rating_like            AUC .588 [.572, .602]              user and item bias .770

One of 20 candidates is chosen with HR@1 .220 [.194, .247], where popularity has .215 [.189, .242].
One checkpoint does every task, none of them as well as a model of its own: 1,600 steps are a
fraction of what the tasks take alone, and all settings are those of the first trial. See
`p5/rating`, `p5/sequential` and `p5/direct`.

Cost: 7 CPU minutes of training, 11.5 TFLOP in products, and 8 CPU minutes of evaluation.
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
