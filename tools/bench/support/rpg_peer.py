"""RPG's network in PyTorch, as a peer of a training step."""

from collections.abc import Callable
from typing import Any

import torch

from jaxrec.systems.rpg import NetworkConfig

functional = torch.nn.functional


class Block(torch.nn.Module):
    """A block of GPT-2."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.rate = config.num_heads, config.attention_dropout
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.mix = torch.nn.Linear(width, 3 * width)
        self.out = torch.nn.Linear(width, width)
        self.up = torch.nn.Linear(width, config.mlp_width)
        self.down = torch.nn.Linear(config.mlp_width, width)

    def forward(self, x: Any) -> Any:
        rows, length, width = x.shape
        mixed = self.mix(self.norms[0](x)).view(rows, length, 3, self.heads, -1)
        q, k, v = mixed.permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, dropout_p=self.rate, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(rows, length, width))
        return x + self.down(functional.gelu(self.up(self.norms[1](x)), approximate="tanh"))


class Network(torch.nn.Module):
    """The mean of code embeddings, blocks, and a head for each place."""

    def __init__(self, options: Any, config: NetworkConfig) -> None:
        super().__init__()
        self.levels, self.size, self.config = options.levels, options.size, config
        self.table = torch.nn.Embedding(options.levels * options.size, config.width)
        self.places = torch.nn.Embedding(config.max_items, config.width)
        self.blocks = torch.nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = torch.nn.LayerNorm(config.width, eps=1e-6)
        self.heads = torch.nn.ModuleList(
            torch.nn.Linear(config.width, config.width) for _ in range(options.levels)
        )
        self.register_buffer("begins", torch.arange(options.levels) * options.size)

    def forward(self, read: Any, target: Any) -> Any:
        x = self.table(read + self.begins).mean(-2) + self.places.weight[: read.shape[1]]
        x = functional.dropout(x, self.config.dropout)
        for block in self.blocks:
            x = block(x)
        h = self.norm(x).flatten(0, 1)
        rows = functional.normalize(self.table.weight, dim=-1).view(self.levels, self.size, -1)
        total = 0.0
        for place, head in enumerate(self.heads):
            z = functional.normalize(h + functional.silu(head(h)), dim=-1)
            logits = z @ rows[place].T / self.config.temperature
            total = total + functional.cross_entropy(logits, target[:, place])
        return total / self.levels


def make_peer(options: Any, config: NetworkConfig, shape: Any) -> Callable[[], None]:
    """The step of the other side."""
    torch.manual_seed(0)
    model = Network(options, config).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.0, fused=True)
    codes, items = torch.tensor(shape.codes), torch.tensor(shape.items)
    read, target = codes[items[:, :-1]], codes[items[:, 1:]].flatten(0, 1)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(read, target).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step
