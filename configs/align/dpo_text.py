r"""DPO on text: the right description of an occupation is preferred to that of another one.

    jaxrec train instruct/occupations          # the start, which must exist first
    jaxrec train align/dpo_text
    jaxrec eval runs/align-dpo_text

The start has learned to describe O*NET's occupations. Here it learns, for each of them, that the
right description is better than another one. Both split the occupations in the same way. Prompts
with chosen and rejected answers of your own, and another start, take their place:

    jaxrec train align/dpo_text --tune.base models/smol --tune.method lora --frame chat \
        --data.name mine --data.records pairs.jsonl --run-dir runs/mine

See dpo/claims for what was measured with three rejected descriptions each.
"""

from jaxrec.peft import TuneConfig
from jaxrec.systems.dpo import DpoConfig, DpoEvalConfig, PreferenceConfig
from jaxrec.train import TrainConfig


def get_config() -> DpoConfig:
    return DpoConfig(
        # The start has the same split, so it was not trained on the test prompts.
        data=PreferenceConfig(name="occupations", valid=0.05, test=0.1),
        frame="plain",
        beta=0.1,
        max_length=192,
        tune=TuneConfig(method="full", base="runs/instruct-occupations"),
        train=TrainConfig(
            steps=60,
            batch_size=8,
            lr=1e-4,
            warmup_steps=10,
            schedule="linear",
            weight_decay=0.0,
            eval_every=20,
        ),
        eval=DpoEvalConfig(max_tokens=48),
    )
