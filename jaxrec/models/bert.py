"""BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019): their configs and weight tables."""

import dataclasses
from typing import Any

from jaxrec.core import ConfigError
from jaxrec.models.config import TransformerConfig
from jaxrec.models.spec import Kind, ModelSpec
from jaxrec.models.tables import Table, Weight, dense, norm

ARCHITECTURES: dict[str, dict[Kind, str]] = {
    "bert": {
        "encoder": "BertModel",
        "masked": "BertForMaskedLM",
        "encoder_classifier": "BertForSequenceClassification",
    },
    "roberta": {
        "encoder": "RobertaModel",
        "masked": "RobertaForMaskedLM",
        "encoder_classifier": "RobertaForSequenceClassification",
    },
}
_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu", "silu": "silu"}


def read_config(hf: dict[str, Any]) -> TransformerConfig:
    """Translate a `config.json` whose defaults are filled in.

    Raises:
      ConfigError: a setting that our models do not support; the message names it.
    """
    if hf["hidden_act"] not in _ACTIVATIONS:
        raise ConfigError(
            f"activation {hf['hidden_act']!r} is not supported; supported: "
            f"{', '.join(_ACTIVATIONS)}"
        )
    for name in ("is_decoder", "add_cross_attention"):
        if hf.get(name):
            raise ConfigError(
                f"the setting {name} of {hf['model_type']} is not supported; only encoders are"
            )
    # RoBERTa's first position is the padding token's number plus one.
    offset = int(hf["pad_token_id"]) + 1 if hf["model_type"] == "roberta" else 0
    return TransformerConfig(
        vocab_size=hf["vocab_size"],
        width=hf["hidden_size"],
        depth=hf["num_hidden_layers"],
        num_heads=hf["num_attention_heads"],
        mlp_width=hf["intermediate_size"],
        norm="layer",
        norm_order="post",
        norm_eps=hf["layer_norm_eps"],
        positions="learned",
        max_length=hf["max_position_embeddings"] - offset,
        position_offset=offset,
        token_types=hf["type_vocab_size"],
        pooler=True,
        activation=_ACTIVATIONS[hf["hidden_act"]],  # type: ignore[arg-type]
        gated=False,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        dropout=float(hf["hidden_dropout_prob"]),
        attention_dropout=float(hf["attention_probs_dropout_prob"]),
    )


def write_config(kind: str, c: TransformerConfig) -> dict[str, Any]:
    """Return the settings of Hugging Face's config that correspond to `c`.

    Settings that Hugging Face cannot express are dropped; the caller compares the two configs.
    """
    names = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}
    return {
        "model_type": kind,
        "vocab_size": c.vocab_size,
        "hidden_size": c.width,
        "num_hidden_layers": c.depth,
        "num_attention_heads": c.num_heads,
        "intermediate_size": c.mlp_hidden,
        "hidden_act": names.get(c.activation, "gelu"),
        "hidden_dropout_prob": c.dropout,
        "attention_probs_dropout_prob": c.attention_dropout,
        "max_position_embeddings": c.max_length + c.position_offset,
        "type_vocab_size": c.token_types,
        "layer_norm_eps": c.norm_eps,
        "pad_token_id": max(c.position_offset - 1, 0),
    }


def table(kind: str, spec: ModelSpec) -> Table:
    """Return the weight table of an encoder, including the head if its kind has one."""
    weights = Table(
        weights=tuple(_body()),
        ignored=(r"embeddings\.position_ids$", r"^cls\.seq_relationship\."),
        renamed=(
            (r"LayerNorm\.gamma$", "LayerNorm.weight"),
            (r"LayerNorm\.beta$", "LayerNorm.bias"),
        ),
    )
    pooler = dense("pooler.dense", "pooler", "e d -> d e", "e -> e")
    if spec.kind == "encoder":
        return weights.plus(pooler if spec.config.pooler else [])
    weights = weights.under("backbone/", f"{kind}.")
    if spec.kind == "masked":
        # A pre-training checkpoint also holds the pooler of BERT's next-sentence task.
        weights = dataclasses.replace(weights, ignored=(*weights.ignored, r"^bert\.pooler\."))
        return weights.plus(*_masked(kind))
    if kind == "roberta":
        layers = ("classifier.dense", "classifier.out_proj")
    else:
        layers = ("bert.pooler.dense", "classifier")
    return weights.plus(
        dense(layers[0], "dense", "e d -> d e", "e -> e")
        + dense(layers[1], "out", "c d -> d c", "c -> c")
    )


def _masked(kind: str) -> tuple[list[Weight], dict[str, str]]:
    name = "cls.predictions.transform." if kind == "bert" else "lm_head."
    bias = "cls.predictions.bias" if kind == "bert" else "lm_head.bias"
    decoder = "cls.predictions.decoder" if kind == "bert" else "lm_head.decoder"
    layer_norm = "LayerNorm" if kind == "bert" else "layer_norm"
    rows = [
        *dense(name + "dense", "head/dense", "e d -> d e", "e -> e"),
        *norm(name + layer_norm, "head/norm", bias=True),
        Weight(name=bias, path="head/bias", pattern="v -> v"),
    ]
    table = f"{kind}.embeddings.word_embeddings.weight"
    return rows, {f"{decoder}.weight": table, f"{decoder}.bias": bias}


def _body() -> list[Weight]:
    layer, here = "encoder.layer.{layer}.", "encoder/blocks/"
    rows = [
        Weight(
            name="embeddings.word_embeddings.weight", path="embedding/table", pattern="v d -> v d"
        ),
        Weight(
            name="embeddings.position_embeddings.weight",
            path="embedding/position",
            pattern="t d -> t d",
        ),
        Weight(
            name="embeddings.token_type_embeddings.weight",
            path="embedding/token_type",
            pattern="s d -> s d",
        ),
        *norm("embeddings.LayerNorm", "embedding/norm", bias=True),
        *norm(layer + "attention.output.LayerNorm", here + "attention_norm", bias=True),
        *norm(layer + "output.LayerNorm", here + "mlp_norm", bias=True),
    ]
    for part in ("query", "key", "value"):
        name, path = f"{layer}attention.self.{part}", f"{here}attention/{part}"
        rows += dense(name, path, "(n h) d -> d n h", "(n h) -> n h")
    rows += dense(
        layer + "attention.output.dense", here + "attention/out", "d (n h) -> n h d", "d -> d"
    )
    rows += dense(layer + "intermediate.dense", here + "mlp/up", "f d -> d f", "f -> f")
    rows += dense(layer + "output.dense", here + "mlp/down", "d f -> f d", "d -> d")
    return rows
