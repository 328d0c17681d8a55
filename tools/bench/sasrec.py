"""SASRec's training step against RecBole's and against the original's shape in PyTorch.

    python tools/bench/sasrec.py [--rows bce,recbole-last,recbole-all] [--repeats 9]

Both sides of a row have the same batch, width, depth, heads, dropouts, objective and optimizer
(Adam), in float32 on all cores, and turns alternate.

bce           the original's objective, binary cross-entropy with one negative at every position,
              against a PyTorch writing of the paper's network as its PyTorch ports have it
              (`torch.nn.MultiheadAttention`, point-wise convolutions)
recbole-last  RecBole's own class and objective: cross-entropy over the catalogue at the last
              position of every row, each row a prefix; ours predicts that position alone too
recbole-all   the same network with the same objective at every position, as ours is trained
as trained    ours at every position against RecBole at the last one: not the same work for a row,
              but what a target costs in either library

RecBole's model file is run as it is installed; what it imports of RecBole beside the layers, such
as loggers, is left out. Without RecBole only the first row is measured. On a busy machine pin the
process to one core (`taskset -c 0`) and read the ratio of CPU times: two threads that wait for one
another lose far more than their share there. Ends with one JSON line.
"""

import argparse
import dataclasses
import importlib.util
import json
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import Times, cores, environment, measure

from jaxrec.baselines import SasrecConfig, make_model, prediction_losses, sequence_loss
from jaxrec.core import MeshConfig, ShardingRules, keep_memory, make_mesh
from jaxrec.objectives import Loss
from jaxrec.train import TrainConfig, make_optimizer, make_state, make_step

FIRST = 2


@dataclasses.dataclass(frozen=True)
class Shape:
    """A batch and a catalogue."""

    rows: int
    length: int
    items: int

    def histories(self) -> np.ndarray:
        """Full histories with the item after them, `[rows, length + 1]`."""
        return np.random.default_rng(0).integers(0, self.items, (self.rows, self.length + 1))

    def negatives(self) -> np.ndarray:
        """One a position, `[rows, length]`."""
        return np.random.default_rng(1).integers(0, self.items, (self.rows, self.length))


class Ours:
    """Our model in `make_step`, the step that the baselines train with."""

    def __init__(self, config: SasrecConfig, shape: Shape, last: bool = False) -> None:
        model = make_model(config, shape.items)
        batch = {"tokens": jnp.asarray(shape.histories() + FIRST, jnp.int32)}
        if config.objective == "bce":
            batch["negative"] = jnp.asarray(shape.negatives()[..., None], jnp.int32)
        frequency = jnp.ones(shape.items)

        def loss(params: Any, batch: Any, key: jax.Array) -> Loss:
            variables = params | {"fixed": {"frequency": frequency}}
            if not last:
                return sequence_loss(config, model, variables, batch, key)
            tokens = batch["tokens"]
            states, table, bias = model.apply(
                variables, tokens[:, :-1], None, False, rngs={"dropout": key}
            )
            losses = prediction_losses(
                config, states[:, -1], table, bias, tokens[:, -1] - FIRST, None, frequency, key
            )
            return Loss(losses.sum(), jnp.float32(len(losses)), {})

        train = dataclasses.replace(config.train, batch_size=shape.rows)
        mesh, rules = make_mesh(MeshConfig(data=1)), ShardingRules()
        optimizer = make_optimizer(train)
        self.state = make_state(
            lambda key: model.init(key, batch["tokens"][:1, :-1]), optimizer, mesh, rules, train
        )
        self.batch = batch
        begin = time.perf_counter()
        step = make_step(loss, optimizer, train, mesh, rules)
        self._step = step.lower(self.state, batch).compile()
        self.compile_seconds = time.perf_counter() - begin

    def step(self) -> None:
        self.state, metrics = self._step(self.state, self.batch)
        jax.block_until_ready((self.state, metrics))


def make_original(config: SasrecConfig, shape: Shape) -> Any:
    """The paper's network in PyTorch, as its ports write it."""
    import torch

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

        def forward(self, read: Any, positive: Any, negative: Any) -> Any:
            x = self.items(read) * config.width**0.5 + self.places.weight
            x = self.drop(x)
            there = (read != 0)[..., None]
            x = x * there
            parts = zip(self.before, self.attend, self.between, self.dense, strict=True)
            for before, attend, between, dense in parts:
                query = before(x)
                found, _ = attend(query, x, x, attn_mask=self.ahead, need_weights=False)
                x = dense(between(query + found)) * there
            x = self.last(x)
            logits = [(x * self.items(target)).sum(-1) for target in (positive, negative)]
            loss = torch.nn.functional.binary_cross_entropy_with_logits
            real = positive != 0
            return sum(
                loss(found[real], torch.full_like(found[real], label))
                for found, label in zip(logits, (1.0, 0.0), strict=True)
            )

    return Original()


def make_recbole(config: SasrecConfig, shape: Shape) -> Any:
    """RecBole's SASRec, out of its installed file."""
    found = importlib.util.find_spec("recbole")
    assert found is not None and found.submodule_search_locations
    root = Path(found.submodule_search_locations[0])
    if "recbole.utils" not in sys.modules:
        # The package's own __init__ imports loggers and tables that training needs not.
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
    """A PyTorch model with Adam."""

    def __init__(self, model: Any, loss: Callable[[Any], Any], lr: float) -> None:
        import torch

        self.model, self._loss = model.train(), loss
        self.optimizer = torch.optim.Adam(model.parameters(), lr, fused=True)

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self._loss(self.model).backward()
        self.optimizer.step()


def peers(name: str, config: SasrecConfig, shape: Shape) -> Theirs:
    import torch

    torch.manual_seed(0)
    items = torch.tensor(shape.histories() + 1)
    read, after = items[:, :-1], items[:, 1:]
    if name == "bce":
        negative = torch.tensor(shape.negatives() + 1)
        model = make_original(config, shape)
        return Theirs(model, lambda m: m(read, after, negative), config.train.lr)
    model = make_recbole(config, shape)
    lengths = torch.full((shape.rows,), shape.length)
    if name == "recbole-last":
        batch = {"item_id_list": read, "item_length": lengths, "item_id": after[:, -1]}
        return Theirs(model, lambda m: m.calculate_loss(batch), config.train.lr)

    def every(m: Any) -> Any:
        # What its forward does, without the choice of the last state.
        x = m.dropout(m.LayerNorm(m.item_embedding(read) + m.position_embedding.weight))
        states = m.trm_encoder(x, m.get_attention_mask(read), output_all_encoded_layers=True)[-1]
        logits = states @ m.item_embedding.weight.T
        return m.loss_fct(logits.flatten(0, 1), after.flatten())

    return Theirs(model, every, config.train.lr)


def show(name: str, ours: Times, theirs: Times, targets: tuple[int, int]) -> dict[str, Any]:
    """Print a row: targets a second, and the ratio of seconds a target."""
    rates = [count / times.median for count, times in zip(targets, (ours, theirs), strict=True)]
    cpu = [
        count / np.median(times.cpu) for count, times in zip(targets, (ours, theirs), strict=True)
    ]
    fastest = min(theirs.wall) / targets[1] / (min(ours.wall) / targets[0])
    print(
        f"{name:13} step {ours.median * 1e3:8.1f} ms, peer {theirs.median * 1e3:8.1f} ms; "
        f"targets/s {rates[0]:10,.0f}, peer {rates[1]:10,.0f}: x{rates[0] / rates[1]:.2f} "
        f"(fastest x{fastest:.2f}, CPU time x{cpu[0] / cpu[1]:.2f})",
        flush=True,
    )
    return {
        "name": name,
        "ours": rates[0],
        "peer": rates[1],
        "ratio": rates[0] / rates[1],
        "cpu_ratio": cpu[0] / cpu[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="bce,recbole-last,recbole-all")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--items", type=int, default=3416)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        sys.exit("the peers need torch: pip install torch")
    import torch

    keep_memory()
    torch.set_num_threads(cores())
    environment(peer=True)
    shape = Shape(options.batch, options.length, options.items)
    train = TrainConfig(lr=1e-3, warmup_steps=0, weight_decay=0.0, beta2=0.999, clip_norm=0.0)
    base = SasrecConfig(width=options.width, max_items=options.length, train=train)
    settings = {
        "bce": dataclasses.replace(
            base,
            objective="bce",
            blocks="sasrec",
            num_heads=1,
            dropout=0.2,
            attention_dropout=0.2,
        ),
        "recbole-last": dataclasses.replace(
            base,
            mlp_width=4 * options.width,
            activation="gelu",
            dropout=0.5,
            attention_dropout=0.5,
        ),
    }
    settings["recbole-all"] = settings["recbole-last"]
    print(f"{shape.rows} rows of {shape.length} items, {shape.items} items, width {options.width}")
    found, kept = [], {}
    for name in options.rows.split(","):
        if name not in settings:
            sys.exit(f"no row {name}; rows: {', '.join(settings)}")
        if name != "bce" and importlib.util.find_spec("recbole") is None:
            print(f"{name}: needs RecBole's files: pip install --no-deps recbole")
            continue
        last = name == "recbole-last"
        ours, theirs = Ours(settings[name], shape, last), peers(name, settings[name], shape)
        times = measure({"ours": ours.step, "theirs": theirs.step}, options.repeats, warmups=3)
        targets = shape.rows * (1 if last else shape.length)
        found.append(show(name, times["ours"], times["theirs"], (targets, targets)))
        kept[name] = times, targets
    if {"recbole-last", "recbole-all"} <= set(kept):
        (every, many), (one, few) = kept["recbole-all"], kept["recbole-last"]
        found.append(show("as trained", every["ours"], one["theirs"], (many, few)))
    print(json.dumps({"rows": found}))


if __name__ == "__main__":
    main()
