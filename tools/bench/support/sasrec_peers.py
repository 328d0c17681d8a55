"""SASRec in PyTorch, as peers of a training step: the original's network, and RecBole's.

What RecBole's model file imports of RecBole besides the layers, such as loggers, is left out.
"""

import importlib.util
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from jaxrec.baselines import SasrecConfig
from support.sasrec_batch import Shape


def make_original(config: SasrecConfig, shape: Shape) -> Any:
    """The paper's network in PyTorch, as its ports write it."""

    class FeedForward(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv1d(config.width, config.width, 1)
            self.second = torch.nn.Conv1d(config.width, config.width, 1)
            self.drops = torch.nn.ModuleList(torch.nn.Dropout(config.dropout) for _ in range(2))

        def forward(self, x: Any) -> Any:
            hidden = torch.relu(self.drops[0](self.first(x.transpose(1, 2))))
            return x + self.drops[1](self.second(hidden)).transpose(1, 2)

    class Original(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            norm = lambda: torch.nn.LayerNorm(config.width, eps=1e-8)  # noqa: E731
            blocks = range(config.depth)
            self.items = torch.nn.Embedding(shape.items + 1, config.width, padding_idx=0)
            self.places = torch.nn.Embedding(shape.length, config.width)
            self.drop = torch.nn.Dropout(config.dropout)
            self.before = torch.nn.ModuleList(norm() for _ in blocks)
            self.attend = torch.nn.ModuleList(
                torch.nn.MultiheadAttention(
                    config.width, config.num_heads, config.attention_dropout, batch_first=True
                )
                for _ in blocks
            )
            self.between = torch.nn.ModuleList(norm() for _ in blocks)
            self.dense = torch.nn.ModuleList(FeedForward() for _ in blocks)
            self.last = norm()
            ahead = ~torch.tril(torch.ones(shape.length, shape.length, dtype=torch.bool))
            self.register_buffer("ahead", ahead)

        def states(self, read: Any) -> Any:
            x = self.items(read) * config.width**0.5 + self.places.weight
            x = self.drop(x)
            there = (read != 0)[..., None]
            x = x * there
            parts = zip(self.before, self.attend, self.between, self.dense, strict=True)
            for before, attend, between, dense in parts:
                query = before(x)
                attended, _ = attend(query, x, x, attn_mask=self.ahead, need_weights=False)
                x = dense(between(query + attended)) * there
            return self.last(x)

        def forward(self, read: Any, positive: Any, negative: Any) -> Any:
            x = self.states(read)
            logits = [(x * self.items(target)).sum(-1) for target in (positive, negative)]
            loss = torch.nn.functional.binary_cross_entropy_with_logits
            real = positive != 0
            return sum(
                loss(scores[real], torch.full_like(scores[real], label))
                for scores, label in zip(logits, (1.0, 0.0), strict=True)
            )

    return Original()


def make_recbole(config: SasrecConfig, shape: Shape) -> Any:
    """RecBole's SASRec, loaded from its installed file."""
    package = importlib.util.find_spec("recbole")
    assert package is not None and package.submodule_search_locations
    root = Path(package.submodule_search_locations[0])
    if "recbole.utils" not in sys.modules:
        # The package's own __init__ imports loggers and tables that training does not need.
        utils = types.ModuleType("recbole.utils")
        utils.__path__ = [str(root / "utils")]
        sys.modules["recbole.utils"] = utils
        from recbole.utils import enum_type

        for name in ("FeatureType", "FeatureSource", "ModelType", "InputType"):
            setattr(utils, name, getattr(enum_type, name))
        utils.set_color = lambda text, *_: text
    path = root / "model" / "sequential_recommender" / "sasrec.py"
    spec = importlib.util.spec_from_file_location("recbole_sasrec", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    settings = {
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "LIST_SUFFIX": "_list",
        "ITEM_LIST_LENGTH_FIELD": "item_length",
        "NEG_PREFIX": "neg_",
        "MAX_ITEM_LIST_LENGTH": shape.length,
        "device": "cpu",
        "n_layers": config.depth,
        "n_heads": config.num_heads,
        "hidden_size": config.width,
        "inner_size": config.mlp_width or config.width,
        "hidden_dropout_prob": config.dropout,
        "attn_dropout_prob": config.attention_dropout,
        "hidden_act": config.activation,
        "layer_norm_eps": 1e-12,
        "initializer_range": 0.02,
        "loss_type": "CE",
    }
    return module.SASRec(settings, types.SimpleNamespace(num=lambda _: shape.items + 1))


class Theirs:
    """A PyTorch model with Adam, in the interface of the timing."""

    def __init__(self, model: Any, loss: Callable[[Any], Any], lr: float) -> None:
        self.model, self._loss = model.train(), loss
        self.optimizer = torch.optim.Adam(model.parameters(), lr, fused=True)

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self._loss(self.model).backward()
        self.optimizer.step()


def make_peer(name: str, config: SasrecConfig, shape: Shape) -> Theirs:
    """The other side of a row: the original for "bce" and "sampled", or RecBole's model."""
    torch.manual_seed(0)
    items = torch.tensor(shape.histories() + 1)
    read, after = items[:, :-1], items[:, 1:]
    if name == "bce":
        negative = torch.tensor(shape.negatives() + 1)
        model = make_original(config, shape)
        return Theirs(model, lambda m: m(read, after, negative), config.train.lr)
    if name == "sampled":
        return Theirs(make_original(config, shape), _sampled(config, shape, read, after), 1e-3)
    model = make_recbole(config, shape)
    lengths = torch.full((shape.rows,), shape.length)
    if name == "recbole-last":
        batch = {"item_id_list": read, "item_length": lengths, "item_id": after[:, -1]}
        return Theirs(model, lambda m: m.calculate_loss(batch), config.train.lr)

    def every(m: Any) -> Any:
        # What its forward pass does, without selecting the last state.
        x = m.dropout(m.LayerNorm(m.item_embedding(read) + m.position_embedding.weight))
        states = m.trm_encoder(x, m.get_attention_mask(read), output_all_encoded_layers=True)[-1]
        logits = states @ m.item_embedding.weight.T
        return m.loss_fct(logits.flatten(0, 1), after.flatten())

    return Theirs(model, every, config.train.lr)


def _sampled(
    config: SasrecConfig, shape: Shape, read: torch.Tensor, after: torch.Tensor
) -> Callable[[Any], Any]:
    """Softmax over the target and random items that all predictions share."""
    # The logarithm of how many items one drawn item stands for.
    weight = math.log(shape.items / config.negatives)

    def loss(model: Any) -> Any:
        states, target = model.states(read).flatten(0, 1), after.flatten()
        drawn = torch.randint(1, shape.items + 1, (config.negatives,))
        positive = (states * model.items(target)).sum(-1, keepdim=True)
        negative = states @ model.items(drawn).T + weight
        negative = negative.masked_fill(drawn[None] == target[:, None], float("-inf"))
        return (torch.cat([positive, negative], 1).logsumexp(1) - positive[:, 0]).sum()

    return loss
