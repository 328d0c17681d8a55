"""GLRec's questions on MovieLens-100K (Wu et al., AAAI 2024), by a small decoder from scratch.

    jaxrec train glrec/ml_100k
    jaxrec eval runs/glrec-ml_100k

Three paths stand in each prompt, "user 21 liked "Alien (1979)", which user 646 disliked." The model
is trained on two random orders of them and has a path selector. Each title and each user is one
token, and so is each part of the prompt that all questions share. Settings and results are those of
the row "hybrid" of `glrec/claims`: on 1,500 test questions of 95 users, seed 0, AUC .721 [.682,
.755] over all and .670 [.627, .710] within users (measured on 2026-11-30).

Cost: 2 CPU minutes.
"""

from jaxrec.models import TransformerConfig
from jaxrec.systems.glrec import GlrecConfig, GlrecEvalConfig
from jaxrec.train import TrainConfig


def get_config() -> GlrecConfig:
    return GlrecConfig(
        shots=12000,
        vocab_size=400,
        model=TransformerConfig(width=64, depth=2, num_heads=2, dropout=0.1),
        train=TrainConfig(
            steps=600, batch_size=32, lr=3e-3, warmup_steps=20, ema_decay=0.99, eval_every=100
        ),
        eval=GlrecEvalConfig(valid_windows=1000, test_windows=1500),
    )
