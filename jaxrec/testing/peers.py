"""Small random Hugging Face models in PyTorch, one per family, and their outputs next to ours."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.decode import Prompts, TextOptions, generate
from jaxrec.models import Pretrained

VOCAB = 61

_WIDE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
_LLAMA = {
    "vocab_size": VOCAB,
    **_WIDE,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GEMMA = {**_LLAMA, "num_hidden_layers": 6, "sliding_window": 4, "query_pre_attn_scalar": 20}
_T5 = {
    "vocab_size": VOCAB,
    "d_model": 32,
    "d_kv": 12,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
}
_BERT = {
    "vocab_size": VOCAB,
    **_WIDE,
    "num_attention_heads": 4,
    "max_position_embeddings": 66,
}


@dataclasses.dataclass(frozen=True)
class Peer:
    """A class of `transformers` and the settings of its config."""

    architecture: str
    settings: dict[str, Any]


PEERS: dict[str, Peer] = {
    "gpt2": Peer(
        "GPT2LMHeadModel",
        {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128},
    ),
    "llama": Peer("LlamaForCausalLM", {**_LLAMA, "attention_bias": True, "mlp_bias": True}),
    "llama3": Peer(
        "LlamaForCausalLM",
        {
            **_LLAMA,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 5e5,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        },
    ),
    "arcee": Peer("ArceeForCausalLM", {**_LLAMA, "hidden_act": "relu"}),
    "mistral": Peer("MistralForCausalLM", {**_LLAMA, "sliding_window": 4}),
    "qwen2": Peer("Qwen2ForCausalLM", {k: v for k, v in _LLAMA.items() if k != "head_dim"}),
    "qwen3": Peer("Qwen3ForCausalLM", _LLAMA),
    "gemma2": Peer(
        "Gemma2ForCausalLM",
        {**_GEMMA, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 5.0},
    ),
    "gemma3": Peer(
        "Gemma3ForCausalLM",
        {**_GEMMA, "layer_types": [*["sliding_attention"] * 2, "full_attention"] * 2},
    ),
    "t5": Peer("T5ForConditionalGeneration", {**_T5, "feed_forward_proj": "relu"}),
    "t5-1.1": Peer(
        "T5ForConditionalGeneration",
        {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "bert": Peer("BertModel", _BERT),
    "roberta": Peer("RobertaModel", {**_BERT, "pad_token_id": 1}),
    "bert-masked": Peer("BertForMaskedLM", _BERT),
    "roberta-masked": Peer("RobertaForMaskedLM", {**_BERT, "pad_token_id": 1}),
    "llama-classifier": Peer("LlamaForSequenceClassification", {**_LLAMA, "num_labels": 3}),
    "gpt2-classifier": Peer(
        "GPT2ForSequenceClassification",
        {
            "vocab_size": VOCAB,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 128,
            "pad_token_id": 0,
            "num_labels": 3,
        },
    ),
    "bert-classifier": Peer("BertForSequenceClassification", {**_BERT, "num_labels": 3}),
    "roberta-classifier": Peer(
        "RobertaForSequenceClassification", {**_BERT, "pad_token_id": 1, "num_labels": 3}
    ),
}


def make_peer(name: str, directory: str | Path, seed: int = 0) -> Any:
    """Build a random PyTorch model, save it to `directory` and return it.

    Weights are large enough that a wrong mask, rotation or norm changes the outputs.
    """
    import torch
    import transformers

    peer = PEERS[name]
    config = getattr(transformers, peer.architecture).config_class(**peer.settings)
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = getattr(transformers, peer.architecture)(config).eval()
    if hasattr(model, "lm_head") and name == "t5-1.1":
        # Recent versions always tie the head; the published models do not.
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            unit = parameter.ndim == 1 and key.endswith("weight") and "gemma" not in name
            parameter.copy_((1.0 if unit else 0.0) + 0.2 * torch.randn_like(parameter))
    model.save_pretrained(directory)
    return model


def batch(
    name: str, length: int, rows: int = 3, seed: int = 0, right: bool = False
) -> dict[str, np.ndarray]:
    """Draw a padded batch of random tokens.

    Args:
      name: a name in `PEERS`.
      length: length of the longest row.
      rows: number of rows, at most 3; their lengths differ.
      seed: of the tokens.
      right: always pad on the right; by default the family decides.

    Returns:
      "tokens" `[B, T]` int32 and "valid" `[B, T]` bool; for an encoder-decoder also "targets" and
      "targets_valid".
    """
    rng = np.random.default_rng(seed + length)
    pads = np.array([0, length // 3, length // 2])[:rows, None]
    right = right or PEERS[name].architecture.startswith(("Bert", "Roberta", "T5"))
    at = np.arange(length)[None]
    valid = at < length - pads if right else at >= pads
    tokens = np.where(valid, rng.integers(3, VOCAB, (rows, length)), 0).astype(np.int32)
    if name.startswith("roberta"):
        tokens = np.where(valid, tokens, 1).astype(np.int32)
    found = {"tokens": tokens, "valid": valid}
    if name.startswith("t5"):
        width = max(length // 2, 1)
        found["targets"] = rng.integers(3, VOCAB, (rows, width)).astype(np.int32)
        found["targets_valid"] = np.arange(width)[None] < width - pads // 2
    return found


def their_output(model: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Compute the logits, or an encoder's states, with a PyTorch model."""
    import torch

    valid = inputs["valid"]
    arguments = {
        "input_ids": torch.tensor(inputs["tokens"].astype(np.int64)),
        "attention_mask": torch.tensor(valid.astype(np.int64)),
    }
    kind = type(model).__name__
    if "targets" in inputs:
        arguments["decoder_input_ids"] = torch.tensor(inputs["targets"].astype(np.int64))
        arguments["decoder_attention_mask"] = torch.tensor(inputs["targets_valid"].astype(np.int64))
    elif not kind.startswith(("Bert", "Roberta")):
        positions = np.maximum(np.cumsum(valid, axis=1) - 1, 0)
        arguments["position_ids"] = torch.tensor(positions)
    with torch.no_grad():
        found = model(**arguments)
    return (found.logits if hasattr(found, "logits") else found.last_hidden_state).numpy()


def our_output(model: Pretrained, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Compute the logits, or an encoder's states, with our model."""
    arrays = [jnp.asarray(array) for array in inputs.values()]
    return np.asarray(jax.jit(model.spec.build().apply)(model.params, *arrays))


def compared(inputs: dict[str, np.ndarray], output: np.ndarray) -> np.ndarray:
    """Return the outputs of tokens that are not padding."""
    if output.ndim == 2:
        return output
    return output[inputs.get("targets_valid", inputs["valid"])]


def their_greedy(model: Any, inputs: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Generate `[B, count]` tokens greedily with a PyTorch model."""
    import torch

    model.generation_config.eos_token_id = None
    if "targets" in inputs:
        model.generation_config.decoder_start_token_id = 0
    prompt = torch.tensor(inputs["tokens"].astype(np.int64))
    found = model.generate(
        prompt,
        attention_mask=torch.tensor(inputs["valid"].astype(np.int64)),
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=0,
        # For T5 its cache has one layer per encoder layer, which may be too few.
        use_cache="targets" not in inputs,
    ).numpy()
    return found[:, -count:]


def our_greedy(model: Pretrained, inputs: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Generate `[B, count]` tokens greedily with our model."""
    tokens, valid = jnp.asarray(inputs["tokens"]), jnp.asarray(inputs["valid"])
    prompts = Prompts(tokens=tokens, valid=valid)
    found = generate(model.spec.build(), model.params, prompts, TextOptions(max_tokens=count))
    return np.asarray(found.tokens)
