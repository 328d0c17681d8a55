"""Llama and its relatives (Arcee, Mistral, Qwen2, Qwen3, Gemma 2 and 3): configs and one table."""

from typing import Any

from jaxrec.core import ConfigError
from jaxrec.models.config import TransformerConfig
from jaxrec.models.spec import Kind, ModelSpec
from jaxrec.models.tables import Table, Weight, dense, norm
from jaxrec.nn import RopeScaling

ARCHITECTURES: dict[str, dict[Kind, str]] = {
    "llama": {"causal": "LlamaForCausalLM", "causal_classifier": "LlamaForSequenceClassification"},
    "arcee": {"causal": "ArceeForCausalLM", "causal_classifier": "ArceeForSequenceClassification"},
    "mistral": {
        "causal": "MistralForCausalLM",
        "causal_classifier": "MistralForSequenceClassification",
    },
    "qwen2": {"causal": "Qwen2ForCausalLM", "causal_classifier": "Qwen2ForSequenceClassification"},
    "qwen3": {"causal": "Qwen3ForCausalLM", "causal_classifier": "Qwen3ForSequenceClassification"},
    "gemma2": {
        "causal": "Gemma2ForCausalLM",
        "causal_classifier": "Gemma2ForSequenceClassification",
    },
    "gemma3_text": {
        "causal": "Gemma3ForCausalLM",
        "causal_classifier": "Gemma3TextForSequenceClassification",
    },
}

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
    "silu": "silu",
    "swish": "silu",
}
_GEMMA = ("gemma2", "gemma3_text")


def read_config(hf: dict[str, Any]) -> TransformerConfig:
    """Translate a `config.json` of one of these model types whose defaults are filled in.

    Raises:
      ConfigError: a setting that our models do not support; the message names it.
    """
    kind, width, heads = hf["model_type"], hf["hidden_size"], hf["num_attention_heads"]
    gemma = kind in _GEMMA
    window, every = _window(hf)
    theta, scaling, local_theta = _rope(hf)
    attention_bias = bool(hf.get("attention_bias"))
    activation = hf["hidden_activation"] if gemma else hf["hidden_act"]
    if activation not in _ACTIVATIONS:
        raise ConfigError(
            f"activation {activation!r} is not supported; supported: {', '.join(_ACTIVATIONS)}"
        )
    if hf.get("use_bidirectional_attention"):
        raise ConfigError(
            "the setting use_bidirectional_attention of Gemma is not supported; only causal "
            "attention is"
        )
    return TransformerConfig(
        vocab_size=hf["vocab_size"],
        width=width,
        depth=hf["num_hidden_layers"],
        num_heads=heads,
        num_kv_heads=hf.get("num_key_value_heads") or heads,
        head_size=hf.get("head_dim") or width // heads,
        mlp_width=hf["intermediate_size"],
        norm_order="both" if gemma else "pre",
        norm_eps=hf["rms_norm_eps"],
        rope_theta=theta,
        rope_scaling=scaling,
        max_length=hf["max_position_embeddings"],
        window=window,
        global_every=every,
        local_theta=local_theta if window else None,
        activation=_ACTIVATIONS[activation],  # type: ignore[arg-type]
        gated=kind != "arcee",
        qkv_bias=kind == "qwen2" or attention_bias,
        out_bias=kind != "qwen2" and attention_bias,
        mlp_bias=bool(hf.get("mlp_bias")),
        qk_norm=kind in ("qwen3", "gemma3_text"),
        query_scale=hf["query_pre_attn_scalar"] ** -0.5 if gemma else None,
        score_cap=hf.get("attn_logit_softcapping"),
        logit_cap=hf.get("final_logit_softcapping"),
        embedding_scale=width**0.5 if gemma else 1.0,
        tie_embeddings=bool(hf["tie_word_embeddings"]),
        attention_dropout=float(hf.get("attention_dropout") or 0.0),
    )


def write_config(kind: str, c: TransformerConfig) -> dict[str, Any]:
    """Return the settings of Hugging Face's config that correspond to `c`.

    Settings that Hugging Face cannot express are dropped; the caller compares the two configs.
    """
    gemma = kind in _GEMMA
    names = {theirs: ours for ours, theirs in reversed(_ACTIVATIONS.items())}
    names["gelu_tanh"] = "gelu_pytorch_tanh"
    settings: dict[str, Any] = {
        "model_type": kind,
        "vocab_size": c.vocab_size,
        "hidden_size": c.width,
        "intermediate_size": c.mlp_hidden,
        "num_hidden_layers": c.depth,
        "num_attention_heads": c.num_heads,
        "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_width,
        "hidden_activation" if gemma else "hidden_act": names[c.activation],
        "max_position_embeddings": c.max_length,
        "rms_norm_eps": c.norm_eps,
        "tie_word_embeddings": c.tie_embeddings,
        "attention_dropout": c.attention_dropout,
        "rope_parameters": _write_rope(kind, c),
    }
    if kind in ("llama", "arcee"):
        settings |= {"attention_bias": c.out_bias, "mlp_bias": c.mlp_bias}
    if kind == "qwen3" or gemma:
        settings["attention_bias"] = c.out_bias
    if kind == "mistral":
        settings["sliding_window"] = c.window
    if kind in ("qwen2", "qwen3"):
        settings |= {"use_sliding_window": c.window is not None, "sliding_window": c.window}
        settings["max_window_layers"] = 0 if c.window else c.depth
    if gemma:
        scale = c.query_scale or c.head_width**-0.5
        settings |= {
            "query_pre_attn_scalar": round(scale**-2),
            "attn_logit_softcapping": c.score_cap,
            "final_logit_softcapping": c.logit_cap,
            "sliding_window": c.window,
            "layer_types": [
                "sliding_attention"
                if c.window and (c.global_every is None or i % c.global_every)
                else "full_attention"
                for i in range(1, c.depth + 1)
            ],
        }
    return settings


def table(kind: str, spec: ModelSpec) -> Table:
    """Return the weight table of a model of type `kind`."""
    c = spec.config
    qkv, out, mlp = (
        pattern if present else None
        for pattern, present in (
            ("(n h) -> n h", c.qkv_bias),
            ("d -> d", c.out_bias),
            ("f -> f", c.mlp_bias),
        )
    )
    gemma = kind in _GEMMA
    # Gemma multiplies by one plus the stored scale.
    add = 1.0 if gemma else 0.0
    there, here = "model.layers.{layer}.", "decoder/blocks/"
    rows = [
        Weight(name="model.embed_tokens.weight", path="embedding/table", pattern="v d -> v d"),
        *norm("model.norm", "decoder/final_norm", add=add),
        *norm(there + "input_layernorm", here + "attention_norm", add=add),
        *dense(there + "self_attn.q_proj", here + "attention/query", "(n h) d -> d n h", qkv),
        *dense(there + "self_attn.k_proj", here + "attention/key", "(n h) d -> d n h", qkv),
        *dense(there + "self_attn.v_proj", here + "attention/value", "(n h) d -> d n h", qkv),
        *dense(there + "self_attn.o_proj", here + "attention/out", "d (n h) -> n h d", out),
        *dense(there + "mlp.up_proj", here + "mlp/up", "f d -> d f", mlp),
        *dense(there + "mlp.down_proj", here + "mlp/down", "d f -> f d", mlp and "d -> d"),
    ]
    if c.gated:
        rows += dense(there + "mlp.gate_proj", here + "mlp/gate", "f d -> d f", mlp)
    if c.qk_norm:
        rows += norm(there + "self_attn.q_norm", here + "attention/query_norm", add=add)
        rows += norm(there + "self_attn.k_norm", here + "attention/key_norm", add=add)
    if gemma:
        rows += norm(there + "post_attention_layernorm", here + "attention_post_norm", add=add)
        rows += norm(there + "pre_feedforward_layernorm", here + "mlp_norm", add=add)
        rows += norm(there + "post_feedforward_layernorm", here + "mlp_post_norm", add=add)
    else:
        rows += norm(there + "post_attention_layernorm", here + "mlp_norm")
    weights = Table(weights=tuple(rows), ignored=(r"rotary_emb\.inv_freq$",))
    if spec.kind == "causal_classifier":
        return weights.under("backbone/").plus(
            [Weight(name="score.weight", path="out/kernel", pattern="c d -> d c")]
        )
    if c.tie_embeddings:
        return weights.plus([], {"lm_head.weight": "model.embed_tokens.weight"})
    return weights.plus([Weight(name="lm_head.weight", path="head/table", pattern="v d -> v d")])


def _window(hf: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return `window` and `global_every`, derived from the types of the layers."""
    window = hf.get("sliding_window")
    if window is None or hf.get("use_sliding_window") is False:
        return None, None
    kinds = hf.get("layer_types")
    if kinds is None:  # Mistral
        return window, None
    is_global = [kind == "full_attention" for kind in kinds]
    if all(is_global):
        return None, None
    if not any(is_global):
        # Gemma's local blocks have their own rotary base even if no block is global.
        return window, (len(kinds) + 1 if hf["model_type"] in _GEMMA else None)
    every = is_global.index(True) + 1
    if is_global != [i % every == 0 for i in range(1, len(kinds) + 1)]:
        raise ConfigError(
            f"layer_types {kinds} is not supported; full_attention must recur at a fixed interval"
        )
    return window, every


def _rope(hf: dict[str, Any]) -> tuple[float, RopeScaling, float | None]:
    """Return base and scaling of the rotary wavelengths, and the base of blocks with a window."""
    parameters = hf["rope_parameters"]
    local = None
    if "full_attention" in parameters:
        local = float(parameters["sliding_attention"]["rope_theta"])
        parameters = parameters["full_attention"]
    kind, scaling = parameters.get("rope_type", "default"), RopeScaling()
    if kind == "linear":
        scaling = RopeScaling(kind="linear", factor=float(parameters["factor"]))
    elif kind == "llama3":
        scaling = RopeScaling(
            kind="llama3",
            factor=float(parameters["factor"]),
            low=float(parameters["low_freq_factor"]),
            high=float(parameters["high_freq_factor"]),
            original=int(parameters["original_max_position_embeddings"]),
        )
    elif kind != "default":
        raise ConfigError(
            f"rope_type {kind!r} is not supported; supported: default, linear, llama3"
        )
    if parameters.get("partial_rotary_factor", 1.0) != 1.0:
        raise ConfigError("a partial_rotary_factor other than 1 is not supported")
    return float(parameters["rope_theta"]), scaling, local


def _write_rope(kind: str, c: TransformerConfig) -> dict[str, Any]:
    parameters: dict[str, Any] = {"rope_type": "default", "rope_theta": c.rope_theta}
    scaling = c.rope_scaling
    if scaling.kind != "none":
        parameters |= {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind == "llama3":
            parameters |= {
                "low_freq_factor": scaling.low,
                "high_freq_factor": scaling.high,
                "original_max_position_embeddings": scaling.original,
            }
    if kind != "gemma3_text":
        return parameters
    local = {"rope_type": "default", "rope_theta": c.local_theta or c.rope_theta}
    return {"full_attention": parameters, "sliding_attention": local}
