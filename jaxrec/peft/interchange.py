"""Adapters in the format of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

Saved adapters load with `PeftModel.from_pretrained` over the exported base and compute the same
outputs; adapters that PEFT saved load here. Settings that cannot be reproduced exactly are rejected
with an error that names them.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError, DataError, check_file, mismatch, read_json
from jaxrec.models import Pretrained, check_finite, table_of, write_config, writing
from jaxrec.nn import TUNED, StoredKernel
from jaxrec.peft import interchange_virtual as virtual
from jaxrec.peft.interchange_lora import LoraSettings, is_lora, read_lora, write_lora
from jaxrec.peft.interchange_modules import read_modules, write_modules
from jaxrec.peft.interchange_names import modules, shortest, sites
from jaxrec.peft.interchange_virtual import VirtualSettings
from jaxrec.peft.lora import Lora

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

LORA, PREFIX, PROMPT = "LORA", "PREFIX_TUNING", "PROMPT_TUNING"
# P-tuning saves the vectors that its network computed, so it loads as a prompt.
_TYPES = (LORA, PREFIX, PROMPT, "P_TUNING")

# PEFT's task types. There is none for masked tokens; feature extraction stands in for it, because
# that task returns the unchanged outputs of the model.
_TASKS = {
    "causal": "CAUSAL_LM",
    "encoder_decoder": "SEQ_2_SEQ_LM",
    "causal_classifier": "SEQ_CLS",
    "encoder_classifier": "SEQ_CLS",
    "encoder": "FEATURE_EXTRACTION",
    "masked": "FEATURE_EXTRACTION",
}

# Settings that are either read or already reflected in the weights, such as the origin of the
# adapter, its initialization and its modules.
_EVERY = (
    *("peft_type", "task_type", "auto_mapping", "base_model_name_or_path", "revision"),
    *("peft_version", "inference_mode", "modules_to_save"),
)
_OF_LORA = (
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("fan_in_fan_out", "ensure_weight_tying", "eva_config", "megatron_core"),
    *("qalora_group_size", "runtime_config"),
)
_OF_VIRTUAL = (
    *("num_virtual_tokens", "token_dim", "num_attention_heads", "num_layers"),
    *("num_transformer_submodules", "prefix_projection", "encoder_hidden_size"),
    *("encoder_num_layers", "encoder_dropout", "encoder_reparameterization_type", "init_weights"),
    *("prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path"),
    "tokenizer_kwargs",
)
# Values of init_lora_weights that leave the base unchanged; others modify its weights on loading.
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")


def save_peft(
    model: Pretrained,
    trained: Mapping[str, Any],
    directory: str | os.PathLike[str],
    *,
    rank_stabilized: bool = False,
    base: str | None = None,
) -> None:
    """Write an adapter in PEFT's format.

    Args:
      model: the base, as `export_model` writes it.
      trained: {"tuned": LoRA nodes, a prefix table or a prompt, "params": other trained leaves};
        each key is optional, arrays may be boxed.
      directory: must be empty or not exist; it appears only when complete.
      rank_stabilized: express LoRA's scale as alpha / sqrt(r) instead of alpha / r.
      base: name or path of the base that is recorded in the adapter.

    Raises:
      ConfigError: PEFT has no method for a node, the nodes belong to several methods, or the
        directory is not empty.

    Example:
      >>> import tempfile
      >>> from jaxrec.models import ModelSpec
      >>> from jaxrec.peft import TuneConfig, start
      >>> from jaxrec.testing import random_params, tiny_model
      >>> spec = ModelSpec("causal", tiny_model())
      >>> model = Pretrained(spec=spec, params=random_params(spec.build()), family="llama")
      >>> config = TuneConfig(method="lora", rank=2)
      >>> tuning = start(jax.random.key(0), spec.shapes(), model.params, config)
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     save_peft(model, tuning.trainable, directory)
      ...     print(sorted(path.name for path in Path(directory).iterdir()))
      ['adapter_config.json', 'adapter_model.safetensors']
    """
    from safetensors.numpy import save_file

    family = write_config(model.spec, model.family)[0]
    table = table_of(family, model.spec)
    trained = nn.meta.unbox(dict(trained))
    nodes = _flat(trained.get(TUNED, {}))
    full = _flat(trained.get("params", {}))
    kind = _method(nodes)
    saved, tensors = write_modules(model, _flat(model.params["params"]), full, table)
    settings: dict[str, Any] = {
        "peft_type": kind,
        "task_type": _TASKS[model.spec.kind],
        "base_model_name_or_path": base,
        "inference_mode": True,
        "modules_to_save": shortest(saved, modules(table)) or None,
    }
    if kind == LORA:
        updates = {path.removesuffix("/update"): node for path, node in nodes.items()}
        own, weights, targets = write_lora(updates, sites(model.spec, table), rank_stabilized)
        clashing = [m for m in targets if any(m == s or m.startswith(f"{s}.") for s in saved)]
        if clashing:
            raise ConfigError(
                f"PEFT trains a module in full or by LoRA, not both: {', '.join(clashing)}; "
                "remove it from the LoRA targets or from the fully trained parameters"
            )
        settings["target_modules"] = shortest(targets, modules(table))
    elif kind == PREFIX:
        own, weights = virtual.write_prefix(model.spec, nodes)
    else:
        own, weights = virtual.write_prompt(model.spec, next(iter(nodes.values())))
    if kind == LORA:
        tensors = {
            f"base_model.model.{name}": tensor for name, tensor in (weights | tensors).items()
        }
    else:
        tensors = weights | {f"base_model.{name}": tensor for name, tensor in tensors.items()}
    text = json.dumps(settings | own, indent=2, sort_keys=True)
    with writing(Path(directory)) as draft:
        (draft / CONFIG).write_text(text + "\n", encoding="utf-8")
        save_file(tensors, draft / WEIGHTS, metadata={"format": "pt"})
        # safetensors creates files that only their owner can read.
        (draft / WEIGHTS).chmod(0o644)


def load_peft(model: Pretrained, directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Read an adapter in PEFT's format.

    Args:
      model: the base that the adapter was trained for.
      directory: holds `adapter_config.json` and `adapter_model.safetensors`.

    Returns:
      {"tuned": nodes, "params": leaves that replace those of the base}, in float32; a key is
      missing if it would be empty.

    Raises:
      ConfigError: a method or setting is not supported, or cannot be applied to this model.
      DataError: files are missing or damaged, or tensors do not fit the model.

    Example:
      >>> import tempfile
      >>> from jaxrec.models import ModelSpec
      >>> from jaxrec.testing import random_params, tiny_model
      >>> spec = ModelSpec("causal", tiny_model())
      >>> model = Pretrained(spec=spec, params=random_params(spec.build()), family="llama")
      >>> prompt = {"tuned": {"embedding": {"prompt": np.ones((3, 16), np.float32)}}}
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     save_peft(model, prompt, directory)
      ...     loaded = load_peft(model, directory)
      >>> loaded["tuned"]["embedding"]["prompt"].shape
      (3, 16)
    """
    directory = Path(directory)
    settings = _read_settings(directory / CONFIG)
    tensors = _read_tensors(directory)
    family = write_config(model.spec, model.family)[0]
    table = table_of(family, model.spec)
    kind = settings["peft_type"]
    nodes: dict[str, Any] = {}
    if kind == LORA:
        tensors = _strip(tensors, "base_model.model.")
        own = {name: tensor for name, tensor in tensors.items() if is_lora(name)}
        found = read_lora(own, settings, sites(model.spec, table))
        nodes = {f"{path}/update": node for path, node in found.items()}
    else:
        own = {name: tensor for name, tensor in tensors.items() if name == virtual.TENSOR}
        tensors = _strip(tensors, "base_model.")
        read = virtual.read_prefix if kind == PREFIX else virtual.read_prompt
        nodes = read(model.spec, own, settings)
    rest = {name: tensor for name, tensor in tensors.items() if name not in own}
    full = read_modules(rest, model, _flat(model.params["params"]), table)
    if not nodes and not full:
        raise DataError(f"{directory / WEIGHTS} contains no adapter weights")
    trees = {TUNED: unflatten_dict(nodes, sep="/"), "params": unflatten_dict(full, sep="/")}
    return {name: tree for name, tree in trees.items() if tree}


def _method(nodes: Mapping[str, Any]) -> str:
    """Return PEFT's name of the method that a tree of nodes belongs to."""
    ends = {"update": LORA, "prefix": PREFIX, "prompt": PROMPT}
    found = {ends.get(path.rpartition("/")[2]) for path in nodes}
    if None in found:
        names = sorted({path for path in nodes if path.rpartition("/")[2] not in ends})
        raise ConfigError(
            f"PEFT has no method for {', '.join(names)}; save LoRA, a prefix or a prompt"
        )
    if len(found) != 1:
        methods = ", ".join(sorted(str(method) for method in found)) or "none"
        raise ConfigError(f"an adapter in PEFT's format has one method; this one has {methods}")
    return str(found.pop())


def _read_settings(path: Path) -> dict[str, Any]:
    """Read `adapter_config.json` and reject settings that cannot be reproduced exactly."""
    fix = "save the adapter again"
    settings = read_json(path, dict[str, Any], missing=fix, fix=fix)
    kind = settings.get("peft_type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ConfigError(
            f"{path}: peft_type {kind!r:.60} is not supported; supported: {', '.join(_TYPES)}"
        )
    known = {*_EVERY, *(_OF_LORA if kind == LORA else _OF_VIRTUAL)}
    unknown = {name: value for name, value in settings.items() if name not in known and value}
    if unknown.get("bias") == "none":
        del unknown["bias"]
    if unknown.get("init_lora_weights") in _STARTS:
        unknown.pop("init_lora_weights", None)
    if unknown:
        said = ", ".join(f"{name:.60} {value!r:.60}" for name, value in sorted(unknown.items()))
        raise ConfigError(f"{path}: {said} is not supported")
    if problem := mismatch(settings, LoraSettings if kind == LORA else VirtualSettings, ""):
        raise DataError(f"{path}: {problem}; {fix}")
    sizes = [] if kind == LORA else [n for n in VirtualSettings.__annotations__ if settings[n] < 1]
    if sizes:
        raise DataError(f"{path}: {sizes[0]!r} must be at least 1, got {settings[sizes[0]]}; {fix}")
    return settings


def _read_tensors(directory: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.flax import load_file

    path = directory / WEIGHTS
    check_file(path, missing=True)
    if not path.is_file():
        pickled = (
            "; adapter_model.bin is a pickle, which can run code when loaded: save the adapter "
            "again as safetensors"
        )
        raise DataError(
            f"{path} is missing{pickled if (directory / 'adapter_model.bin').exists() else ''}"
        )
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read: {reason}; save the adapter again") from error
    tensors = {}
    for name, array in found.items():
        tensors[name] = np.asarray(jax.device_get(array), np.float32)
        check_finite(tensors[name], f"{path}: {name}")
    return tensors


def _strip(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _flat(tree: Any) -> dict[str, Any]:
    """Return leaves and nodes by path."""
    return flatten_dict(
        tree, sep="/", is_leaf=lambda _, leaf: isinstance(leaf, Lora | StoredKernel | tuple)
    )
