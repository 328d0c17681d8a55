"""A random model of Hugging Face beside ours, tuned by PEFT there and here."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.models import Pretrained, import_model
from jaxrec.testing.peers import PEERS, VOCAB, batch, make_peer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """The same weights in PyTorch, on disk, and here, with a batch padded at the right."""

    name: str
    directory: Path
    ours: Pretrained
    inputs: dict[str, np.ndarray]

    def base(self) -> Any:
        """A fresh model of PyTorch."""
        import transformers

        kind = getattr(transformers, PEERS[self.name].architecture)
        return kind.from_pretrained(self.directory, attn_implementation="eager").eval()

    def expected(self, model: Any) -> np.ndarray:
        """Outputs of a model of PyTorch, without those of padding and of prompts."""
        import torch

        arrays = {name: torch.tensor(np.int64(array)) for name, array in self.inputs.items()}
        arguments = {"input_ids": arrays["tokens"], "attention_mask": arrays["valid"]}
        if "targets" in arrays:
            arguments["decoder_input_ids"] = arrays["targets"]
            arguments["decoder_attention_mask"] = arrays["targets_valid"]
        with torch.no_grad():
            found = model(**arguments)
        return self._compared(getattr(found, "logits", None), found)

    def found(self, trained: dict[str, Any], read: int = 0, written: int = 0) -> np.ndarray:
        """The same of ours, with virtual tokens before what is read or written."""
        inputs = dict(self.inputs)
        for tokens, valid, count in (
            ("tokens", "valid", read),
            ("targets", "targets_valid", written),
        ):
            if count:
                rows = len(inputs[tokens])
                virtual = np.tile(np.arange(VOCAB, VOCAB + count, dtype=np.int32), (rows, 1))
                inputs[tokens] = np.concatenate([virtual, inputs[tokens]], axis=1)
                inputs[valid] = np.concatenate([virtual > 0, inputs[valid]], axis=1)
        leaves = flatten_dict(self.ours.params["params"])
        leaves |= flatten_dict(trained.get("params", {}))
        variables = {"params": unflatten_dict(leaves), "tuned": trained.get("tuned", {})}
        out = self._apply(variables, *(jnp.asarray(array) for array in inputs.values()))
        return self._compared(out)

    @functools.cached_property
    def _apply(self) -> Any:
        # It runs once: compiling faster is worth more than running faster.
        options = {"xla_backend_optimization_level": 0}
        return jax.jit(self.ours.spec.build().apply, compiler_options=options)

    def _compared(self, output: Any, states: Any = None) -> np.ndarray:
        array = np.asarray(states.last_hidden_state if output is None else output)
        if array.ndim == 2:
            return array
        valid = self.inputs.get("targets_valid", self.inputs["valid"])
        return array[:, -valid.shape[1] :][valid]


@pytest.fixture
def pair(tmp_path):
    """Return a function: name of `PEERS` -> `Pair`."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("peft")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()

    def make(name: str) -> Pair:
        directory = tmp_path / "base"
        make_peer(name, directory)
        return Pair(
            name=name,
            directory=directory,
            ours=import_model(directory),
            inputs=batch(name, 9, right=True),
        )

    return make


@pytest.fixture
def randomized():
    """Return a function that gives an adapter of PEFT random weights and hands it back."""
    import torch

    def fill(model: Any) -> Any:
        torch.manual_seed(1)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if any(part in name for part in ("lora_", "prompt_encoder", "modules_to_save")):
                    parameter.copy_(0.2 * torch.randn_like(parameter))
        return model.eval()

    return fill


@pytest.fixture
def shifted():
    """Return a function that adds noise to all arrays of a tree: the same shapes, other values."""

    def shift(tree: Any) -> Any:
        rng = np.random.default_rng(2)
        return jax.tree.map(lambda x: x + 0.2 * rng.normal(size=x.shape).astype(np.float32), tree)

    return shift
