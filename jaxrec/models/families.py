"""Hugging Face's model types: which module reads, writes and lays out each."""

import dataclasses
import math
from types import ModuleType
from typing import Any

from jaxrec.core import ConfigError, nearest
from jaxrec.models import bert, gpt2, llama, t5
from jaxrec.models.config import TransformerConfig
from jaxrec.models.sources import WeightSource
from jaxrec.models.spec import Kind, ModelSpec
from jaxrec.models.tables import Table

_MODULES = (llama, gpt2, t5, bert)
FAMILIES: dict[str, ModuleType] = {
    name: module for module in _MODULES for name in module.ARCHITECTURES
}

# Training alone reads these: a model without them computes the same.
_TRAINING = ("dtype", "remat", "dropout", "attention_dropout", "mlp_dropout")


def read_spec(source: WeightSource, kind: Kind | None = None) -> tuple[str, ModelSpec]:
    """Family and spec of a checkpoint.

    Args:
      source: the checkpoint.
      kind: architecture and head; None for what its config says.

    Raises:
      ConfigError: a model type, architecture or setting that is not supported, by name.
    """
    family = source.config.get("model_type", "")
    module = _module(family)
    config = resolve(source.config)
    known = module.ARCHITECTURES[family]
    if kind is None:
        kind = _kind(family, config.get("architectures") or [])
    elif kind not in known:
        raise ConfigError(f"{family} has no {kind}; it has {', '.join(known)}")
    model = module.read_config(config)
    pooler = kind == "encoder" and "pooler.dense.weight" in source.names()
    model = dataclasses.replace(model, pooler=pooler)
    classes = len(config.get("id2label") or ()) if kind.endswith("classifier") else 0
    return family, ModelSpec(kind, model, classes)


def _kind(family: str, architectures: list[str]) -> Kind:
    known = {name: kind for kind, name in _module(family).ARCHITECTURES[family].items()}
    if not architectures:
        raise ConfigError(
            f"the checkpoint's config names no architecture; say which kind it is: "
            f"{', '.join(known.values())}"
        )
    if architectures[0] not in known:
        raise ConfigError(
            f"architecture {architectures[0]} is not supported; for {family} these are: "
            f"{', '.join(known)}"
        )
    return known[architectures[0]]


def table_of(family: str, spec: ModelSpec) -> Table:
    """The weight table of a model of that family."""
    return _module(family).table(family, spec)


def write_config(spec: ModelSpec, family: str | None = None) -> tuple[str, dict[str, Any]]:
    """Family and resolved `config.json` that say exactly what the spec says.

    Args:
      spec: the model.
      family: Hugging Face's model type; None for the first that fits.

    Raises:
      ConfigError: no family, or not the one asked for, can say it; names the fields.
    """
    candidates = [family] if family else [f for f in FAMILIES if spec.kind in _kinds(f)]
    if family and spec.kind not in _kinds(family):
        raise ConfigError(f"{family} has no {spec.kind}; it has {', '.join(_kinds(family))}")
    misfits = {}
    for name in candidates:
        found = _module(name).write_config(name, spec.config)
        found["architectures"] = [_kinds(name)[spec.kind]]
        if spec.classes:
            found["num_labels"] = spec.classes
        config = resolve(found)
        misfits[name] = _differences(spec, _module(name).read_config(config))
        if not misfits[name]:
            return name, config
    closest = min(misfits, key=lambda name: len(misfits[name]))
    said = "; ".join(f"model.{field} {ours}, there {its}" for field, ours, its in misfits[closest])
    raise ConfigError(
        f"Hugging Face's {closest} cannot say all of this model's settings ({said}); "
        "change them, or choose another family"
    )


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """Fill a `config.json` with its family's defaults, in today's spelling."""
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
            f"model type {family!r} is not supported{nearest(family, FAMILIES)}; "
            f"these are: {', '.join(FAMILIES)}"
        )
    return FAMILIES[family]


def _differences(spec: ModelSpec, theirs: TransformerConfig) -> list[tuple[str, Any, Any]]:
    """Fields on which two configs describe different functions."""
    ours, theirs = _canonical(spec.kind, spec.config), _canonical(spec.kind, theirs)
    found = []
    for field in dataclasses.fields(ours):
        a, b = getattr(ours, field.name), getattr(theirs, field.name)
        close = isinstance(a, float) and isinstance(b, float) and math.isclose(a, b)
        if a != b and not close:
            found.append((field.name, a, b))
    return found


def _canonical(kind: Kind, c: TransformerConfig) -> TransformerConfig:
    """The same function, with defaults resolved and what it does not read at the default."""
    default = TransformerConfig()
    c = dataclasses.replace(
        c,
        num_kv_heads=c.kv_heads,
        head_size=c.head_width,
        mlp_width=c.mlp_hidden,
        query_scale=c.query_scale or c.head_width**-0.5,
        encoder_depth=c.encoder.depth if kind == "encoder_decoder" else None,
        pooler=False,
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
