"""Hugging Face's model types, and the module that converts configs and weights of each."""

import dataclasses
import math
from types import ModuleType
from typing import Any

from jaxrec.core import ConfigError, check_types, nearest, printable
from jaxrec.models import bert, gpt2, llama, t5
from jaxrec.models.checkpoint_config import check_config, reading
from jaxrec.models.config import TransformerConfig
from jaxrec.models.sources import WeightSource
from jaxrec.models.spec import Kind, ModelSpec
from jaxrec.models.tables import Table

_MODULES = (llama, gpt2, t5, bert)
FAMILIES: dict[str, ModuleType] = {
    name: module for module in _MODULES for name in module.ARCHITECTURES
}

# The class of transformers that loads a model of each kind with its head.
LOADERS: dict[Kind, str] = {
    "causal": "AutoModelForCausalLM",
    "encoder": "AutoModel",
    "encoder_decoder": "AutoModelForSeq2SeqLM",
    "masked": "AutoModelForMaskedLM",
    "causal_classifier": "AutoModelForSequenceClassification",
    "encoder_classifier": "AutoModelForSequenceClassification",
}

# Only training reads these fields; they do not change what a model computes.
_TRAINING = ("dtype", "remat", "dropout", "attention_dropout", "mlp_dropout")


def read_spec(source: WeightSource, kind: Kind | None = None) -> tuple[str, ModelSpec]:
    """Return family and spec of a checkpoint.

    Args:
      source: the checkpoint.
      kind: architecture and head; None for those in its config.

    Raises:
      ConfigError: a model type, architecture or setting is not supported; the message names it.
    """
    family = source.config.get("model_type", "")
    if not isinstance(family, str):
        raise ConfigError(f"{source.path}: model_type must be a name, got {family!r:.60}")
    module = _module(family)
    check_config(source)
    known = module.ARCHITECTURES[family]
    if kind is not None and kind not in known:
        raise ConfigError(f"{family} has no {kind} model; its kinds are {', '.join(known)}")
    with reading(source.path):
        config = resolve(source.config)
        kind = kind or _kind(family, config.get("architectures") or [])
        model = module.read_config(config)
        check_types(model, "model.")
        pooler = kind == "encoder" and "pooler.dense.weight" in source.names()
        model = dataclasses.replace(model, pooler=pooler)
        classes = len(config.get("id2label") or ()) if kind.endswith("classifier") else 0
        return family, ModelSpec(kind, model, classes)


def _kind(family: str, architectures: list[str]) -> Kind:
    known = {name: kind for kind, name in _module(family).ARCHITECTURES[family].items()}
    if not architectures:
        raise ConfigError(
            f"the checkpoint's config names no architecture; give its kind, one of "
            f"{', '.join(known.values())}"
        )
    if architectures[0] not in known:
        shown = printable(str(architectures[0])[:60])
        raise ConfigError(
            f"architecture {shown} is not supported; supported for {family}: {', '.join(known)}"
        )
    return known[architectures[0]]


def table_of(family: str, spec: ModelSpec) -> Table:
    """Return the weight table of a model of a family."""
    return _module(family).table(family, spec)


def write_config(spec: ModelSpec, family: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return a family and a `config.json` with all defaults that describe exactly this model.

    Args:
      spec: the model.
      family: Hugging Face's model type; None for the first that can express the model.

    Raises:
      ConfigError: the given family, or every family, cannot express the model; the message names
        the fields.
    """
    if spec.config.block != "transformer":
        raise ConfigError(
            f"Hugging Face has no family for model.block {spec.config.block}, so this model has no "
            "export (hf, hub-dir, peft, vllm, flashrec); serve the run itself by jaxrec serve, or "
            "train one with model.block transformer"
        )
    candidates = [family] if family else [f for f in FAMILIES if spec.kind in _kinds(f)]
    if family and spec.kind not in _kinds(family):
        raise ConfigError(
            f"{family} has no {spec.kind} model; its kinds are {', '.join(_kinds(family))}"
        )
    misfits = {}
    for name in candidates:
        settings = _module(name).write_config(name, spec.config)
        settings["architectures"] = [_kinds(name)[spec.kind]]
        if spec.classes:
            settings["num_labels"] = spec.classes
        config = resolve(settings)
        misfits[name] = _differences(spec, _module(name).read_config(config))
        if not misfits[name]:
            return name, config
    closest = min(misfits, key=lambda name: len(misfits[name]))
    fields = "; ".join(
        f"model.{field} is {ours}, it has {theirs}" for field, ours, theirs in misfits[closest]
    )
    raise ConfigError(
        f"Hugging Face's {closest} cannot express all settings of this model ({fields}); "
        "change them, or choose another family"
    )


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """Fill a `config.json` with its family's defaults, using the current names of settings."""
    from transformers import CONFIG_MAPPING

    family = config.get("model_type", "")
    _module(family)
    values = {key: value for key, value in config.items() if key != "model_type"}
    return CONFIG_MAPPING[family](**values).to_dict()


def _kinds(family: str) -> dict[Kind, str]:
    return _module(family).ARCHITECTURES[family]


def _module(family: str) -> ModuleType:
    if family not in FAMILIES:
        raise ConfigError(
            f"model type {family!r:.60} is not supported{nearest(family, FAMILIES)}; "
            f"supported: {', '.join(FAMILIES)}"
        )
    return FAMILIES[family]


def _differences(spec: ModelSpec, theirs: TransformerConfig) -> list[tuple[str, Any, Any]]:
    """Return the fields in which two configs describe different functions, with both values."""
    ours, theirs = _canonical(spec.kind, spec.config), _canonical(spec.kind, theirs)
    differences = []
    for field in dataclasses.fields(ours):
        a, b = getattr(ours, field.name), getattr(theirs, field.name)
        close = isinstance(a, float) and isinstance(b, float) and math.isclose(a, b)
        if a != b and not close:
            differences.append((field.name, a, b))
    return differences


def _canonical(kind: Kind, c: TransformerConfig) -> TransformerConfig:
    """Resolve derived fields and reset unused ones, so that equal models have equal configs."""
    default = TransformerConfig()
    c = dataclasses.replace(
        c,
        num_kv_heads=c.kv_heads,
        head_size=c.head_width,
        mlp_width=c.mlp_hidden,
        positions=c.position_kind,
        query_scale=c.query_scale or c.head_width**-0.5,
        encoder_depth=c.encoder.depth if kind == "encoder_decoder" else None,
        pooler=False,
        end_tokens=(),  # generation_config.json has them
        **{name: getattr(default, name) for name in _TRAINING},
    )
    unread = []
    if c.positions != "rope":
        unread += ["rope_theta", "rope_scaling"]
    if c.positions != "relative":
        unread += ["relative_buckets", "relative_distance"]
    if c.positions in ("relative", "none"):
        unread += ["max_length"]
    if kind in ("masked", "encoder_classifier", "encoder", "causal_classifier"):
        unread += ["tie_embeddings"]
    return dataclasses.replace(c, **{name: getattr(default, name) for name in unread})
