"""TALLRec's second stage on a pretrained language model: LoRA, 256 questions.

    jaxrec train tallrec/lora --tune.base PATH

PATH is a causal language model with its tokenizer: a GGUF file, a directory of Hugging Face or one
that `jaxrec import-hf` wrote.

Cost with SmolLM2-135M: 37 TFLOP in products, 1.6 GiB. Its AUC on these test questions is unknown:
on 160 of them `tools/bench tune_llm`, with half the steps, has an AUC of .652 [.506, .747],
untuned .331, and the number of liked titles .771.
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
            method="lora", base="models/smollm2", rank=8, alpha=16.0, targets=("query", "value")
        ),
        train=TrainConfig(
            steps=64, batch_size=4, lr=1e-3, warmup_steps=8, weight_decay=0.0, eval_every=64
        ),
        eval=ClickEvalConfig(valid_windows=64, test_windows=320, batch_size=8),
    )
