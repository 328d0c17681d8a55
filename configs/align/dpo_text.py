r"""DPO on text: the right description of an occupation is preferred to that of another one.

    jaxrec train align/dpo_text
    jaxrec eval runs/align-dpo_text
    jaxrec train align/dpo_text --loss sdpo --data.rejected 3 --run-dir runs/sdpo

The stage `instruct` teaches a small model to name and describe O*NET's occupations, read from
`onet-occupations` below JAXREC_DATA. Then it learns which of two descriptions belongs to an
occupation. Prompts, chosen and rejected answers of your own and another start take their place:

    jaxrec train align/dpo_text --tune.base models/smol --tune.method lora --frame chat \
        --data.name mine --data.records pairs.jsonl --run-dir runs/mine

MEASURED
"""

from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.systems.dpo import DpoConfig, DpoEvalConfig, PreferenceConfig
from jaxrec.systems.instruct import (
    InstructConfig,
    InstructDataConfig,
    InstructEvalConfig,
    WritingConfig,
)
from jaxrec.train import TrainConfig


def get_stages() -> dict[str, InstructConfig]:
    return {
        "instruct": InstructConfig(
            data=InstructDataConfig(name="occupations", tasks=("occupations",)),
            writing=WritingConfig(frame="plain", per_datum=0, max_length=192),
            model=TransformerConfig(width=128, depth=2, num_heads=4),
            vocab_size=2048,
            train=TrainConfig(steps=300, batch_size=16, lr=3e-3, warmup_steps=30, eval_every=100),
            eval=InstructEvalConfig(valid_instances=30, test_instances=30, max_tokens=48),
        )
    }


def get_config() -> DpoConfig:
    return DpoConfig(
        # The split of the stage, so no test prompt was learned there.
        data=PreferenceConfig(name="occupations", valid=0.05, test=0.1),
        frame="plain",
        beta=0.1,
        max_length=192,
        tune=TuneConfig(method="full", base="stage:instruct"),
        train=TrainConfig(
            steps=100,
            batch_size=16,
            lr=1e-4,
            warmup_steps=10,
            schedule="linear",
            weight_decay=0.0,
            eval_every=25,
        ),
        eval=DpoEvalConfig(max_tokens=48),
    )
