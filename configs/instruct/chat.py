"""Tuning on chats with LoRA: the loss covers what the assistant says, and nothing else.

    jaxrec train instruct/chat --tune.base PATH --data.chats CHATS

PATH is a causal language model whose tokenizer has a chat template. CHATS is a JSON-lines file of
records with "messages" and "user". Chats are filtered as in InstructGPT: prompts with the same
beginning count once, a user gives at most 200, e-mail addresses and telephone numbers are replaced,
and the held-out chats are those of other users.

Cost: not measured; it depends on the model and the chats.
"""

from jaxrec.peft import TuneConfig
from jaxrec.systems.instruct import InstructConfig, InstructDataConfig, WritingConfig
from jaxrec.train import TrainConfig


def get_config() -> InstructConfig:
    return InstructConfig(
        data=InstructDataConfig(name="chats", chats=("data/chats.jsonl",)),
        writing=WritingConfig(frame="chat", max_length=1024),
        tune=TuneConfig(
            method="lora", base="models/smollm2", rank=8, alpha=16.0, targets=("query", "value")
        ),
        train=TrainConfig(
            steps=500, batch_size=16, accumulate=4, lr=2e-4, warmup_steps=20, weight_decay=0.0
        ),
    )
