"""GPT-2 (Radford et al. 2019): its config and weight table."""

from typing import Any

from jaxrec.core import ConfigError
from jaxrec.models.config import TransformerConfig
from jaxrec.models.spec import Kind, ModelSpec
from jaxrec.models.tables import Table, Weight, norm

ARCHITECTURES: dict[str, dict[Kind, str]] = {
    "gpt2": {"causal": "GPT2LMHeadModel", "causal_classifier": "GPT2ForSequenceClassification"},
}
_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu": "gelu", "relu": "relu", "silu": "silu"}


def read_config(hf: dict[str, Any]) -> TransformerConfig:
    """Translate a `config.json` whose defaults are filled in.

    Raises:
      ConfigError: a setting that our models do not support; the message names it.
    """
    for name, usual in (
        ("scale_attn_weights", True),
        ("scale_attn_by_inverse_layer_idx", False),
        ("add_cross_attention", False),
    ):
        if hf.get(name, usual) != usual:
            raise ConfigError(
                f"the setting {name}={hf[name]} of GPT-2 is not supported; only {usual} is"
            )
    if hf["activation_function"] not in _ACTIVATIONS:
        raise ConfigError(
            f"activation {hf['activation_function']!r} is not supported; supported: "
            f"{', '.join(_ACTIVATIONS)}"
        )
    return TransformerConfig(
        vocab_size=hf["vocab_size"],
        width=hf["n_embd"],
        depth=hf["n_layer"],
        num_heads=hf["n_head"],
        mlp_width=hf.get("n_inner") or 4 * hf["n_embd"],
        norm="layer",
        norm_eps=hf["layer_norm_epsilon"],
        positions="learned",
        max_length=hf["n_positions"],
        activation=_ACTIVATIONS[hf["activation_function"]],  # type: ignore[arg-type]
        gated=False,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        tie_embeddings=bool(hf["tie_word_embeddings"]),
        dropout=float(hf["resid_pdrop"]),
        attention_dropout=float(hf["attn_pdrop"]),
    )


def write_config(kind: str, c: TransformerConfig) -> dict[str, Any]:
    """Return the settings of Hugging Face's config that correspond to `c`.

    Settings that Hugging Face cannot express are dropped; the caller compares the two configs.
    """
    names = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}
    return {
        "model_type": kind,
        "vocab_size": c.vocab_size,
        "n_embd": c.width,
        "n_layer": c.depth,
        "n_head": c.num_heads,
        "n_inner": c.mlp_hidden,
        "n_positions": c.max_length,
        "activation_function": names.get(c.activation, "gelu_new"),
        "layer_norm_epsilon": c.norm_eps,
        "resid_pdrop": c.dropout,
        "embd_pdrop": c.dropout,
        "attn_pdrop": c.attention_dropout,
        "tie_word_embeddings": c.tie_embeddings,
    }


def table(kind: str, spec: ModelSpec) -> Table:
    """Return the weight table.

    GPT-2 stores kernels with the input axis first, and queries, keys and values in one tensor.
    """
    there, here = "transformer.h.{layer}.", "decoder/blocks/"
    rows = [
        Weight(name="transformer.wte.weight", path="embedding/table", pattern="v d -> v d"),
        Weight(name="transformer.wpe.weight", path="embedding/position", pattern="t d -> t d"),
        *norm("transformer.ln_f", "decoder/final_norm", bias=True),
        *norm(there + "ln_1", here + "attention_norm", bias=True),
        *norm(there + "ln_2", here + "mlp_norm", bias=True),
    ]
    for i, part in enumerate(("query", "key", "value")):
        kernel, bias = "d (part n h) -> part d n h", "(part n h) -> part n h"
        name, path = there + "attn.c_attn", here + "attention/" + part
        rows.append(
            Weight(name=f"{name}.weight", path=f"{path}/kernel", pattern=kernel, part=(i, 3))
        )
        rows.append(Weight(name=f"{name}.bias", path=f"{path}/bias", pattern=bias, part=(i, 3)))
    for name, path, kernel in (
        ("attn.c_proj", "attention/out", "(n h) d -> n h d"),
        ("mlp.c_fc", "mlp/up", "d f -> d f"),
        ("mlp.c_proj", "mlp/down", "f d -> f d"),
    ):
        rows.append(
            Weight(name=f"{there}{name}.weight", path=f"{here}{path}/kernel", pattern=kernel)
        )
        rows.append(Weight(name=f"{there}{name}.bias", path=f"{here}{path}/bias", pattern="d -> d"))
    weights = Table(
        weights=tuple(rows),
        ignored=(r"\.attn\.(masked_)?bias$",),
        # The original checkpoints lack the prefix.
        renamed=((r"^(wte|wpe|h|ln_f)\.", r"transformer.\1."),),
    )
    if spec.kind == "causal_classifier":
        return weights.under("backbone/").plus(
            [Weight(name="score.weight", path="out/kernel", pattern="c d -> d c")]
        )
    if spec.config.tie_embeddings:
        return weights.plus([], {"lm_head.weight": "transformer.wte.weight"})
    return weights.plus([Weight(name="lm_head.weight", path="head/table", pattern="v d -> v d")])
