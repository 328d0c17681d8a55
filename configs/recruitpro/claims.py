"""RecruitPro against its baselines and its ablations, on a made-up world of recruitment.

    jaxrec sweep recruitpro/claims --seeds 5

All rows learn the thirteen tasks together, from the same batches. `finetuned` reads the first token
of the pre-trained encoder and has no prompts (the publication's RPLM); `scratch` is the same from
random parameters. `p_tuning` has task prompts alone, as many as `recruitpro`. `no_ner` has no skill
sentences: its contrast is between texts, and nothing is similar; `no_sim` and `no_com` leave one
loss out. All prompted rows train the same pre-trained encoder, so `p_tuning` is a harder baseline
here than in the publication, which starts it from a general BERT. The encoder is trained once, for
all seeds, on the texts of 12,000 other jobs and 6,000 other people of the same world.

`accuracy` is the mean over the ten tasks of classification and matching; the other figures stand
beside it. Everything is synthetic. Goals: `finetuned` is at least .03 above `scratch`, and
`recruitpro` is above `p_tuning` with p < .05 over five seeds; each ablation has its interval.

NOT REACHED. On 2026-11-30, one seed, test rows read once, 95 % intervals over rows:

    row          accuracy            jobs, 1st level     resumes, 1st level  sections
    scratch      .488 [.469, .509]   .660 [.607, .713]   .733 [.667, .800]   .808 [.782, .833]
    finetuned    .389 [.371, .408]   .390 [.333, .447]   .553 [.473, .633]   .867 [.844, .888]
    p_tuning     .365 [.348, .382]   .367 [.313, .423]   .307 [.233, .380]   .844 [.820, .868]
    recruitpro   .353 [.337, .368]   .280 [.230, .330]   .280 [.207, .353]   .852 [.829, .876]

Pre-training lowers the mean by .099 [.077, .120]; only the sections of resumes gain. The encoder of
0.3 M parameters finds .30 of the masked tokens and tells .96 of the next sentences. But a logistic
regression on its mean states finds the industry of .45 of the validation jobs, and on those of
random parameters of .57. So it seems to have learned the sentences around the skills, and not yet
which skills belong together. `recruitpro` is .037 [.018, .057] below `finetuned` and .012 [-.003,
.027] below `p_tuning` (p .12). Its contrast stays at 3.43 in batches of 16 classes, the value of
equal vectors, since any two skill prompts have a cosine above .98 from the start. All rows extract
skills with a strict F1 of .92 or .93. In 54 batches a task, no row learns matches (AUC .49 to .53)
or rankings (mean reciprocal rank .18 to .19), and salaries are hardly learned (RMSE .88 to .91).

What was found by validation on the same day, without another reading of the test rows:

- The texts of pre-training hold what the tasks need. Each skill gets a vector of 64 numbers from
  the skills that the 12,000 jobs and 6,000 resumes name together, or a random one. A logistic
  regression on the mean vector of a job's named skills has this accuracy on 300 validation jobs:

      level and training rows    co-occurrence    random
      industry, 300              .800             .613
      industry, 1,400            .830             .683
      category, 300              .450             .277
      category, 1,400            .543             .423

- Pre-training did not learn these co-occurrences in the steps that were tried. In an easier world
  (`far` .1), with phrases masked whole, a rate of .3, rotary positions and .95 of the pairs
  following, a logistic regression on mean states and 300 labels finds the industry of .63 of the
  validation jobs at random parameters, and of .40 to .47 after 500 to about 3,900 steps of 24 texts
  (standard error .03; one seed; the learning rate began anew after 1,000 and about 2,900 steps).
  The masked loss fell to .91 in step 2,750 and was .95 in the last 250 steps, so this is a plateau.
- Rotary positions learn the sentences around the skills faster than BERT's learned ones: a masked
  loss of 2.1 against 4.2 in the steps 400 to 500 of 16 texts, with the same peak learning rate and
  schedules of 800 and 1,500 steps.
- By reading the code: BERT's masking hides single tokens, of which the rest of a skill gives many
  away, and half of its pairs join two documents, so that skills stand beside those of another job.
  `--objective.phrases` and `--objective.following` change both. `--auxiliary.center` compares skill
  prompts without the part that all of them share. What each of the three gains was NOT MEASURED,
  and the settings below do not use them yet.

The first thing to try is pre-training with these settings until the regression on mean states is
above that of random parameters, and only then few labels, such as `--world.jobs 600`.

NOT MEASURED: the ablations, more seeds, and an encoder of 5 M parameters or more.

By validation, a `recruitpro` with the learning rate 2e-3, heads without their gain and weights of
.1 and .1 had .390, and the settings below have .388. Cost: 3 CPU minutes for the encoder and 2 to 4
for each row, an estimated 25 for a seed.
"""

import dataclasses

from jaxrec.data.recruitment import WorldOptions
from jaxrec.runs import Sweep
from jaxrec.systems.pretrain import ObjectiveConfig, PretrainConfig, PretrainDataConfig, flavour
from jaxrec.systems.recruitpro import (
    OFF,
    AuxiliaryConfig,
    EncoderConfig,
    InputConfig,
    RecruitEvalConfig,
    RecruitProConfig,
)
from jaxrec.train import TrainConfig

BASE = "runs/recruitpro-pretrain"


def get_start() -> PretrainConfig:
    return PretrainConfig(
        data=PretrainDataConfig(
            name="recruitment-world", world=WorldOptions(jobs=12000, people=6000)
        ),
        vocab_size=1280,
        objective=ObjectiveConfig(name="mlm_nsp"),
        backbone="encoder",
        length=112,
        model=flavour("encoder", width=64, depth=2, num_heads=4, mlp_width=256, max_length=120),
        train=TrainConfig(steps=1500, batch_size=24, lr=4e-3, eval_every=1500),
    )


def get_config() -> RecruitProConfig:
    return RecruitProConfig(
        encoder=EncoderConfig(base=BASE),
        input=InputConfig(text_tokens=96, chunk_tokens=56),
        auxiliary=AuxiliaryConfig(similarity=0.1, comparison=0.5, detach=True),
        train=TrainConfig(
            steps=700,
            batch_size=32,
            lr=1e-3,
            warmup_steps=70,
            schedule="linear",
            weight_decay=0.01,
            eval_every=700,
        ),
        eval=RecruitEvalConfig(valid_rows=40),
    )


def get_sweep() -> Sweep:
    full = get_config()
    auxiliary = full.auxiliary
    cls = dataclasses.replace(
        full, input=dataclasses.replace(full.input, form="cls"), auxiliary=OFF
    )
    return Sweep(
        variants={
            "finetuned": cls,
            "recruitpro": full,
            "p_tuning": dataclasses.replace(
                full, input=dataclasses.replace(full.input, form="prompt"), auxiliary=OFF
            ),
            "scratch": dataclasses.replace(
                cls, encoder=EncoderConfig(base=BASE, from_scratch=True)
            ),
            "no_ner": dataclasses.replace(
                full,
                auxiliary=AuxiliaryConfig(
                    extractor="none", similarity=0.0, comparison=auxiliary.comparison
                ),
            ),
            "no_sim": dataclasses.replace(
                full, auxiliary=dataclasses.replace(auxiliary, similarity=0.0)
            ),
            "no_com": dataclasses.replace(
                full, auxiliary=dataclasses.replace(auxiliary, comparison=0.0)
            ),
        },
        against="recruitpro",
        metrics=("accuracy",),
        pairs=(("finetuned", "scratch"),),
        starts={BASE: get_start()},
        fixed_starts=True,
    )
