"""PPO's weight of the divergence: a small one buys score, a large one keeps the policy near.

    jaxrec sweep ppo/claims --seeds 1
    jaxrec sweep ppo/claims --seeds 1 --only "beta 0.05"

Both rows pre-train the model of `align/ppo_text` and then write 40 rollouts of 64 episodes. The
reward is 10 times the share of digits in a response of 16 characters. The metrics are those of the
best checkpoint on 256 held-out prompts: `score`, `start_score` before PPO, and `kl`, the divergence
of a whole response from the pre-trained model in nats.

Cost: 2 min 20 s for both rows on two idle cores, 3.7 CPU minutes. Result on 2026-11-30, seed 0,
intervals over prompts:

    row         start_score         score               kl
    beta 0.05   .83 [.66, 1.03]     9.12                15.3
    beta 0.5    .83 [.66, 1.03]     5.33 [5.07, 5.61]   4.91 [4.54, 5.29]
"""

import dataclasses

from jaxrec.align import PpoSettings
from jaxrec.models import TransformerConfig
from jaxrec.runs import Sweep
from jaxrec.systems.ppo import PpoConfig, PpoEvalConfig
from jaxrec.train import TrainConfig


def get_config() -> PpoConfig:
    return PpoConfig(
        model=TransformerConfig(
            width=128,
            depth=4,
            num_heads=4,
            positions="learned",
            max_length=128,
            gated=False,
            activation="gelu",
        ),
        pretrain=TrainConfig(steps=200, batch_size=16, lr=3e-3, warmup_steps=20, eval_every=100),
        ppo=PpoSettings(response=16, temperature=1.0, minibatches=2, beta=0.05),
        train=TrainConfig(
            steps=320,
            batch_size=32,
            lr=1e-4,
            warmup_steps=0,
            schedule="linear",
            weight_decay=0.0,
            beta2=0.999,
            eps=1e-5,
            eval_every=80,
            log_every=8,
            max_loss_ratio=0.0,
        ),
        eval=PpoEvalConfig(valid_prompts=256, test_prompts=256),
    )


def get_sweep() -> Sweep:
    config = get_config()
    variants = {
        name: dataclasses.replace(config, ppo=dataclasses.replace(config.ppo, beta=beta))
        for name, beta in (("beta 0.05", 0.05), ("beta 0.5", 0.5))
    }
    return Sweep(variants=variants, metrics=("score", "kl"))
