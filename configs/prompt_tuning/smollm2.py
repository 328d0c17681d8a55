r"""A soft prompt for a pretrained language model: TALLRec's questions, 256 examples.

    jaxrec train prompt_tuning/smollm2 --tune.base PATH --dry-run
    jaxrec train prompt_tuning/smollm2 --tune.base PATH
    jaxrec export runs/prompt_tuning-smollm2 --to peft --out exports/prompt

PATH is a causal language model with its tokenizer: a GGUF file, a directory of Hugging Face or one
that `jaxrec import-hf` wrote. The prompt begins with the embeddings of the published instruction,
so it starts as a good hard prompt does. The same data with a searched instruction, for any model:

    jaxrec train prompt_tuning/smollm2 --tune.base PATH --tune.method full --tune.prompt-init \
        vocabulary --tune.prompt-text "" --search.method wordings --run-dir runs/wording
"""

from jaxrec.peft import TuneConfig
from jaxrec.systems.tallrec import ClickEvalConfig, TallrecConfig
from jaxrec.train import TrainConfig


def get_config() -> TallrecConfig:
    return TallrecConfig(
        shots=256,
        # The loss covers the answers alone; the published loss also covers the prompts.
        on_prompt=False,
        tune=TuneConfig(
            method="prompt",
            base="models/smollm2",
            virtual_tokens=20,
            prompt_init="text",
            prompt_text=(
                "Given the user's preference and unpreference, identify whether the user will like "
                "the target movie."
            ),
        ),
        train=TrainConfig(
            steps=64, batch_size=4, lr=1e-2, warmup_steps=8, weight_decay=0.0, eval_every=64
        ),
        eval=ClickEvalConfig(valid_windows=64, test_windows=320, batch_size=8),
    )
