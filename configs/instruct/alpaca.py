"""Alpaca (Taori et al. 2023): full tuning of a language model on records of instructions.

    jaxrec train instruct/alpaca --tune.base PATH --data.records RECORDS

PATH is a causal language model with its tokenizer: a GGUF file, a directory of Hugging Face or one
that `jaxrec import-hf` wrote. RECORDS is a JSON file of records with instruction, input and output,
such as the 52,000 published ones or those that `alpaca_instruct` makes.

The settings are the published ones: three epochs of batches of 128, a learning rate of 2e-5 after a
warm-up of 3 %, no weight decay, texts of at most 512 tokens. Published cost with LLaMA-7B: three
hours on eight A100; here not measured. `tools/bench tune_llm` measures LoRA on a CPU.
"""

from jaxrec.peft import TuneConfig
from jaxrec.systems.instruct import InstructConfig, InstructDataConfig, WritingConfig
from jaxrec.train import TrainConfig


def get_config() -> InstructConfig:
    return InstructConfig(
        data=InstructDataConfig(
            name="Alpaca", records=("data/alpaca_data.json",), valid_share=0.01, test_share=0.01
        ),
        writing=WritingConfig(frame="alpaca", cap=0, max_length=512, packed=False),
        tune=TuneConfig(method="full", base="models/llama-7b"),
        train=TrainConfig(
            steps=1219,
            batch_size=128,
            accumulate=32,
            lr=2e-5,
            warmup_steps=37,
            weight_decay=0.0,
            final_fraction=0.0,
            eval_every=400,
        ),
    )
