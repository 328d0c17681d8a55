"""What a small model gains by writing its reasoning: last letters of names, with and without.

    jaxrec sweep last_letters/claims --seeds 1

The row "chain of thought" is trained on texts that spell the last letter of each name before the
answer, "direct answers" on the same questions with bare answers. Both learn questions of one to
four made-up names. Measured are questions of four names (`accuracy_trained`), of five to eight
(`accuracy_longer`), and 200 published ones of four real names (`accuracy_published`).

The goal: "chain of thought" has at least .95 in `accuracy_trained`, is at least .20 above "direct
answers" in `accuracy_longer`, and is not better than its self-consistency of five samples. The
first two are missed (2026-11-30, seed 0, test, 95 % intervals over 200 questions):

    accuracy            trained             longer              published
    chain of thought    .920 [.885, .955]   .000 [.000, .000]   .570 [.500, .635]
    self-consistency    .910 [.870, .945]   .000 [.000, .000]   .585 [.515, .655]
    direct answers      .000 [.000, .000]   .000 [.000, .000]   .000 [.000, .000]

Direct answers are right in .031 of 64 validation questions of one to four names.

Chain of thought minus self-consistency is .010 [.000, .025] on trained lengths and -.015 [-.055,
.025] on published questions, so neither is shown to be better. On validation questions, which have
one to four names, the accuracy is 1.000.

The model does not learn a step that works for any number of names. In longer questions it copies
names with errors, it mostly answers questions of five names with four letters, and .465 of its
replies do not end. Training probably varies positions and numbers of names too little. Because
`accuracy_longer` is 0, direct answers cannot be .20 worse.

Two other forms of reasoning do not reach the goal either (2026-11-30, seed 0, accuracy on questions
made with another seed, 50 and 32 of each length; 9 CPU minutes of training each). Both repeat the
word before each name and the letters so far, "Mira Tok: ak. Tok Belas?: aks.", so that the next
name stands behind the one just written. Blocks with a window of 32 characters have rotary
positions, and the blocks between them have none.

    names in a question                              4      5       6
    800 steps of 16 rows                            .88    .00       -
    1,600 steps of 8 rows, half of the questions
    give up to 7 letters that are found already     .69      -     .00

In the first form the model counts: the fourth step, always the last one in training, takes the last
name even if there are five. Given letters hide the number of the step. The reasoning then goes on
beyond four steps, but it copies wrong letters in questions of four names too: the loss is still .10
nats a character, so this form needs a longer training than was tried.

Cost: 0.5 M parameters, 1,200 steps of 7.6 GFLOP in products, 3.8 CPU minutes; 8 CPU minutes for the
measurement, most of them for 3,000 sampled chains.
"""

import dataclasses

from jaxrec.models import TransformerConfig
from jaxrec.runs import Sweep
from jaxrec.systems.last_letters import LettersConfig, LettersDataConfig, LettersEvalConfig
from jaxrec.train import TrainConfig


def get_config() -> LettersConfig:
    return LettersConfig(
        data=LettersDataConfig(words=4, longest=8),
        model=TransformerConfig(
            width=128,
            depth=3,
            num_heads=4,
            mlp_width=256,
            positions="relative",
            relative_distance=64,
            qk_norm=True,
            remat="none",
        ),
        train=TrainConfig(
            steps=1200, batch_size=16, lr=5e-3, warmup_steps=50, weight_decay=0.01, eval_every=300
        ),
        eval=LettersEvalConfig(valid_instances=64, samples=5, max_tokens=160, batch_size=200),
    )


def get_sweep() -> Sweep:
    reasoning = get_config()
    return Sweep(
        variants={
            "chain of thought": reasoning,
            "direct answers": dataclasses.replace(reasoning, rationale=False),
        },
        metrics=("accuracy_trained", "accuracy_longer"),
        all_rows=True,
    )
