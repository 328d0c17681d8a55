"""T5 1.0, T5 1.1 and Flan-T5 (Raffel et al. 2020): their configs and weight table."""

from typing import Any

from jaxrec.core import ConfigError
from jaxrec.models.config import TransformerConfig
from jaxrec.models.spec import Kind, ModelSpec
from jaxrec.models.tables import Table, Weight, dense, norm

ARCHITECTURES: dict[str, dict[Kind, str]] = {
    "t5": {"encoder_decoder": "T5ForConditionalGeneration"},
}
_ACTIVATIONS = {"relu": "relu", "gelu_new": "gelu_tanh", "gelu": "gelu", "silu": "silu"}


def read_config(hf: dict[str, Any]) -> TransformerConfig:
    """Translate a `config.json` whose defaults are filled in.

    In T5, `tie_word_embeddings` means two things: the head is the embedding table, and states are
    scaled by D^-1/2 before it. Recent versions of transformers store the second separately, as
    `scale_decoder_outputs`; the head is then tied if states are scaled, as in the published models.

    Raises:
      ConfigError: a setting that our models do not support; the message names it.
    """
    activation = hf["dense_act_fn"]
    if activation not in _ACTIVATIONS:
        raise ConfigError(
            f"activation {activation!r} is not supported; supported: {', '.join(_ACTIVATIONS)}"
        )
    tied = bool(hf.get("scale_decoder_outputs", hf["tie_word_embeddings"]))
    rate = float(hf["dropout_rate"])
    return TransformerConfig(
        vocab_size=hf["vocab_size"],
        width=hf["d_model"],
        depth=hf.get("num_decoder_layers") or hf["num_layers"],
        encoder_depth=hf["num_layers"],
        num_heads=hf["num_heads"],
        head_size=hf["d_kv"],
        mlp_width=hf["d_ff"],
        norm_eps=hf["layer_norm_epsilon"],
        positions="relative",
        relative_buckets=hf["relative_attention_num_buckets"],
        relative_distance=hf["relative_attention_max_distance"],
        activation=_ACTIVATIONS[activation],  # type: ignore[arg-type]
        gated=bool(hf["is_gated_act"]),
        query_scale=1.0,
        logit_scale=hf["d_model"] ** -0.5 if tied else 1.0,
        tie_embeddings=tied,
        dropout=rate,
        attention_dropout=rate,
        mlp_dropout=rate,
    )


def write_config(kind: str, c: TransformerConfig) -> dict[str, Any]:
    """Return the settings of Hugging Face's config that correspond to `c`.

    Settings that Hugging Face cannot express are dropped; the caller compares the two configs.
    """
    name = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}.get(c.activation, "relu")
    # "gated-gelu" is the published name of the gated tanh approximation.
    name = "gelu" if c.gated and name == "gelu_new" else name
    return {
        "model_type": kind,
        "vocab_size": c.vocab_size,
        "d_model": c.width,
        "d_kv": c.head_width,
        "d_ff": c.mlp_hidden,
        "num_layers": c.encoder.depth,
        "num_decoder_layers": c.depth,
        "num_heads": c.num_heads,
        "relative_attention_num_buckets": c.relative_buckets,
        "relative_attention_max_distance": c.relative_distance,
        "dropout_rate": c.dropout,
        "layer_norm_epsilon": c.norm_eps,
        "feed_forward_proj": f"gated-{name}" if c.gated else name,
        "tie_word_embeddings": c.tie_embeddings,
    }


def table(kind: str, spec: ModelSpec) -> Table:
    """Return the weight table.

    The kernels of keys and values for cross-attention belong to the decoder's `memory_projection`.
    """
    c = spec.config
    rows = [Weight(name="shared.weight", path="embedding/table", pattern="v d -> v d")]
    for stack, feed in (("encoder", 1), ("decoder", 2)):
        block = f"{stack}.block.{{layer}}.layer."
        here = f"{stack}/blocks/"
        rows += norm(f"{stack}.final_layer_norm", f"{stack}/final_norm")
        rows += norm(block + "0.layer_norm", here + "attention_norm")
        rows += _attention(block + "0.SelfAttention", here + "attention", here + "attention")
        rows += norm(f"{block}{feed}.layer_norm", here + "mlp_norm")
        dense_name = f"{block}{feed}.DenseReluDense."
        ups = (("wi_0", "gate"), ("wi_1", "up")) if c.gated else (("wi", "up"),)
        for name, path in ups:
            rows += dense(dense_name + name, f"{here}mlp/{path}", "f d -> d f")
        rows += dense(dense_name + "wo", here + "mlp/down", "d f -> f d")
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        rows.append(Weight(name=bias, path=f"{stack}/relative", pattern="b n -> b n"))
    cross = "decoder.block.{layer}.layer.1."
    rows += norm(cross + "layer_norm", "decoder/blocks/cross_norm")
    rows += _attention(
        cross + "EncDecAttention", "decoder/blocks/cross", "decoder/memory_projection/cross"
    )
    aliases = {
        "encoder.embed_tokens.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
    }
    if c.tie_embeddings:
        aliases["lm_head.weight"] = "shared.weight"
    else:
        rows.append(Weight(name="lm_head.weight", path="head/table", pattern="v d -> v d"))
    return Table(
        weights=tuple(rows), aliases=aliases, ignored=(r"EncDecAttention\.relative_attention_bias",)
    )


def _attention(name: str, path: str, memory: str) -> list[Weight]:
    return [
        *dense(f"{name}.q", f"{path}/query", "(n h) d -> d n h"),
        *dense(f"{name}.k", f"{memory}/key", "(n h) d -> d n h"),
        *dense(f"{name}.v", f"{memory}/value", "(n h) d -> d n h"),
        *dense(f"{name}.o", f"{path}/out", "d (n h) -> n h d"),
    ]
