"""Adapters in the format of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

What is written loads with `PeftModel.from_pretrained` over the exported base and computes the same;
what PEFT wrote loads here. Settings that change what an adapter computes and that are not known
here are errors, so that nothing is read as something else.
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

from jaxrec.core import ConfigError, DataError
from jaxrec.models import Pretrained, table_of, write_config, writing
from jaxrec.nn import TUNED, StoredKernel
from jaxrec.peft import interchange_virtual as virtual
from jaxrec.peft.interchange_lora import is_lora, read_lora, write_lora
from jaxrec.peft.interchange_modules import read_modules, write_modules
from jaxrec.peft.interchange_names import modules, shortest, sites
from jaxrec.peft.lora import Lora

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

LORA, PREFIX, PROMPT = "LORA", "PREFIX_TUNING", "PROMPT_TUNING"
# Saved as the vectors that its network gave, P-tuning is a prompt.
_TYPES = (LORA, PREFIX, PROMPT, "P_TUNING")

# PEFT's classes of tasks. It has none for masked tokens, and only one of the tasks makes room for
# virtual tokens; that of features returns whatever the model does.
_TASKS = {
    "causal": "CAUSAL_LM",
    "encoder_decoder": "SEQ_2_SEQ_LM",
    "causal_classifier": "SEQ_CLS",
    "encoder_classifier": "SEQ_CLS",
    "encoder": "FEATURE_EXTRACTION",
    "masked": "FEATURE_EXTRACTION",
}

# Settings that are read, or that the weights already follow: where they came from, how they began,
# which modules they are of.
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
# Other ways of starting change the base's weights when the adapter is loaded.
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
      trained: {"tuned": nodes of LoRA, a prefix as its table, or a prompt; "params": leaves trained
        besides}, as far as there are such; boxed or not.
      directory: must not exist, or be empty; appears only when complete.
      rank_stabilized: say LoRA's scale as alpha / sqrt(r).
      base: path or name of the base that the adapter remembers.

    Raises:
      ConfigError: nodes that PEFT has no method for, several methods at once, or a directory that
        is in use.
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
                "leave it out of one"
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
        # The library leaves its files readable by their owner alone.
        (draft / WEIGHTS).chmod(0o644)


def load_peft(model: Pretrained, directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Read an adapter in PEFT's format.

    Args:
      model: the base that it was made for.
      directory: where `adapter_config.json` and `adapter_model.safetensors` lie.

    Returns:
      {"tuned": nodes, "params": leaves to put in place of the base's}, each only if there are such,
      in float32.

    Raises:
      ConfigError: a method or a setting that is not supported, or that this model cannot follow.
      DataError: files missing or damaged, or tensors that do not fit the model.
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
        raise DataError(f"{directory / WEIGHTS} holds no weights of an adapter")
    trees = {TUNED: unflatten_dict(nodes, sep="/"), "params": unflatten_dict(full, sep="/")}
    return {name: tree for name, tree in trees.items() if tree}


def _method(nodes: Mapping[str, Any]) -> str:
    """PEFT's name of the method that a tree of nodes is of."""
    ends = {"update": LORA, "prefix": PREFIX, "prompt": PROMPT}
    found = {ends.get(path.rpartition("/")[2]) for path in nodes}
    if None in found:
        names = sorted({path for path in nodes if path.rpartition("/")[2] not in ends})
        raise ConfigError(
            f"PEFT has no method for {', '.join(names)}; LoRA, prefix and prompt can be exported"
        )
    if len(found) != 1:
        methods = ", ".join(sorted(str(method) for method in found)) or "none"
        raise ConfigError(f"an adapter of PEFT is of one method, this one of {methods}")
    return str(found.pop())


def _read_settings(path: Path) -> dict[str, Any]:
    """Read `adapter_config.json`, and refuse what would compute something else than is read."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from error
    kind = settings.get("peft_type") if isinstance(settings, dict) else None
    if kind not in _TYPES:
        raise ConfigError(f"{path}: peft_type {kind!r} is not supported; {', '.join(_TYPES)} are")
    known = {*_EVERY, *(_OF_LORA if kind == LORA else _OF_VIRTUAL)}
    unknown = {name: value for name, value in settings.items() if name not in known and value}
    if unknown.get("bias") == "none":
        del unknown["bias"]
    if unknown.get("init_lora_weights") in _STARTS:
        unknown.pop("init_lora_weights", None)
    if unknown:
        said = ", ".join(f"{name} {value!r}" for name, value in sorted(unknown.items()))
        raise ConfigError(f"{path}: {said} is not supported")
    needed = () if kind == LORA else _OF_VIRTUAL[:4]
    lacking = [name for name in needed if not isinstance(settings.get(name), int)]
    if lacking:
        raise DataError(f"{path} does not say {', '.join(lacking)}")
    return settings


def _read_tensors(directory: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.flax import load_file

    path = directory / WEIGHTS
    if not path.is_file():
        pickled = " (adapter_model.bin is a pickle, which may run code when read; save it again)"
        raise DataError(
            f"{path} is missing{pickled if (directory / 'adapter_model.bin').exists() else ''}"
        )
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return {name: np.asarray(jax.device_get(array), np.float32) for name, array in found.items()}


def _strip(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _flat(tree: Any) -> dict[str, Any]:
    """Leaves and nodes by path."""
    return flatten_dict(
        tree, sep="/", is_leaf=lambda _, leaf: isinstance(leaf, Lora | StoredKernel | tuple)
    )
