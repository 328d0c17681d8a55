"""Whole models against Hugging Face in PyTorch, weights copied by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.models import CausalLM, TransformerConfig
from jaxrec.nn import SelfContext, causal_mask, positions_of

VOCAB = 40


def _randomize(torch, model):
    """Weights large enough that a wrong mask, rotation or norm shows in the logits."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        gain = name.split(".")[-2].startswith(("ln", "norm")) or "layernorm" in name
        center = 1.0 if gain and name.endswith("weight") else 0.0
        parameter.data = center + 0.2 * torch.randn_like(parameter)
    return model.eval()


def _numpy(parameter):
    return parameter.detach().numpy()


def _stack(layers, read):
    return jnp.asarray(np.stack([read(layer) for layer in layers]))


def llama(torch, tie, kv_heads, head_size):
    """A random Llama of Hugging Face, and the same as our model and parameters."""
    transformers = pytest.importorskip("transformers")
    width, heads, hidden, depth, theta, eps = 32, 4, 48, 3, 500.0, 1e-3
    theirs = _randomize(
        torch,
        transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=VOCAB,
                hidden_size=width,
                intermediate_size=hidden,
                num_hidden_layers=depth,
                num_attention_heads=heads,
                num_key_value_heads=kv_heads,
                head_dim=head_size,
                rms_norm_eps=eps,
                rope_parameters={"rope_type": "default", "rope_theta": theta},
                tie_word_embeddings=tie,
                attn_implementation="eager",
            )
        ),
    )
    ours = CausalLM(
        TransformerConfig(
            vocab_size=VOCAB,
            width=width,
            depth=depth,
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_size=head_size,
            mlp_width=hidden,
            norm_eps=eps,
            rope_theta=theta,
            tie_embeddings=tie,
        )
    )
    layers = theirs.model.layers

    def heads_last(name):  # [N H, D] -> [D, N, H]
        return {
            "kernel": _stack(
                layers,
                lambda l: _numpy(getattr(l.self_attn, name).weight).T.reshape(width, -1, head_size),
            )
        }

    def matrix(read):
        return {"kernel": _stack(layers, lambda l: _numpy(read(l).weight).T)}

    params = {
        "embedding": jnp.asarray(_numpy(theirs.model.embed_tokens.weight)),
        "final_norm": {"scale": jnp.asarray(_numpy(theirs.model.norm.weight))},
        "blocks": {
            "attention_norm": {"scale": _stack(layers, lambda l: _numpy(l.input_layernorm.weight))},
            "mlp_norm": {
                "scale": _stack(layers, lambda l: _numpy(l.post_attention_layernorm.weight))
            },
            "attention": {
                "query": heads_last("q_proj"),
                "key": heads_last("k_proj"),
                "value": heads_last("v_proj"),
                "out": {
                    "kernel": _stack(
                        layers,
                        lambda l: _numpy(l.self_attn.o_proj.weight).T.reshape(
                            heads, head_size, width
                        ),
                    )
                },
            },
            "mlp": {
                "gate": matrix(lambda l: l.mlp.gate_proj),
                "up": matrix(lambda l: l.mlp.up_proj),
                "down": matrix(lambda l: l.mlp.down_proj),
            },
        },
    }
    if not tie:
        params["head"] = jnp.asarray(_numpy(theirs.lm_head.weight))
    return theirs, ours, {"params": params}


def gpt2(torch):
    """A random GPT-2 of Hugging Face, and the same as our model and parameters."""
    transformers = pytest.importorskip("transformers")
    width, heads, depth, eps = 24, 3, 2, 1e-3
    theirs = _randomize(
        torch,
        transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=VOCAB,
                n_positions=32,
                n_embd=width,
                n_layer=depth,
                n_head=heads,
                layer_norm_epsilon=eps,
                attn_implementation="eager",
                bos_token_id=0,
                eos_token_id=0,
            )
        ),
    )
    ours = CausalLM(
        TransformerConfig(
            vocab_size=VOCAB,
            width=width,
            depth=depth,
            num_heads=heads,
            norm="layer",
            norm_eps=eps,
            positions="learned",
            max_length=32,
            activation="gelu_tanh",
            gated=False,
            qkv_bias=True,
            out_bias=True,
            mlp_bias=True,
        )
    )
    layers, size = theirs.transformer.h, width // heads

    def norm(name):
        return {
            "scale": _stack(layers, lambda l: _numpy(getattr(l, name).weight)),
            "bias": _stack(layers, lambda l: _numpy(getattr(l, name).bias)),
        }

    def third(part):  # GPT-2 keeps queries, keys and values side by side, input axis first.
        columns = slice(part * width, (part + 1) * width)
        return {
            "kernel": _stack(
                layers,
                lambda l: _numpy(l.attn.c_attn.weight)[:, columns].reshape(width, heads, size),
            ),
            "bias": _stack(
                layers, lambda l: _numpy(l.attn.c_attn.bias)[columns].reshape(heads, size)
            ),
        }

    def dense(read, *shape):
        return {
            "kernel": _stack(
                layers, lambda l: _numpy(read(l).weight).reshape(*shape or read(l).weight.shape)
            ),
            "bias": _stack(layers, lambda l: _numpy(read(l).bias)),
        }

    params = {
        "embedding": jnp.asarray(_numpy(theirs.transformer.wte.weight)),
        "position": jnp.asarray(_numpy(theirs.transformer.wpe.weight)),
        "final_norm": {
            "scale": jnp.asarray(_numpy(theirs.transformer.ln_f.weight)),
            "bias": jnp.asarray(_numpy(theirs.transformer.ln_f.bias)),
        },
        "blocks": {
            "attention_norm": norm("ln_1"),
            "mlp_norm": norm("ln_2"),
            "attention": {
                "query": third(0),
                "key": third(1),
                "value": third(2),
                "out": dense(lambda l: l.attn.c_proj, heads, size, width),
            },
            "mlp": {"up": dense(lambda l: l.mlp.c_fc), "down": dense(lambda l: l.mlp.c_proj)},
        },
    }
    return theirs, ours, {"params": params}


def _build(torch, name):
    if name == "gpt2":
        return gpt2(torch)
    kind = {
        "llama": (False, 4, 8),
        "llama-tied-grouped": (True, 2, 8),
        "llama-wide-heads": (False, 1, 12),
    }
    return llama(torch, *kind[name])


@pytest.mark.parametrize("name", ["llama", "llama-tied-grouped", "llama-wide-heads", "gpt2"])
def test_logits_and_states_equal_hugging_face(name):
    torch = pytest.importorskip("torch")
    theirs, ours, params = _build(torch, name)

    @jax.jit
    def run(params, tokens, valid):
        context = SelfContext(causal_mask(valid))
        hidden, _ = ours.apply(params, tokens, positions_of(valid), context, method="hidden")
        return hidden, ours.apply(params, tokens, valid)

    rng = np.random.default_rng(0)
    for length in (1, 17):
        tokens = rng.integers(0, VOCAB, (2, length))
        with torch.no_grad():
            found = theirs(torch.tensor(tokens), output_hidden_states=True)
        tokens = jnp.asarray(tokens, jnp.int32)
        valid = jnp.ones(tokens.shape, bool)
        hidden, logits = run(params, tokens, valid)
        np.testing.assert_allclose(hidden, found.hidden_states[-1].numpy(), atol=1e-4)
        np.testing.assert_allclose(logits, found.logits.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["llama-tied-grouped", "gpt2"])
def test_left_padded_rows_equal_hugging_face(name):
    torch = pytest.importorskip("torch")
    theirs, ours, params = _build(torch, name)
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, VOCAB, (4, 9))
    valid = np.arange(9) >= np.array([0, 1, 5, 8])[:, None]
    positions = np.maximum(np.cumsum(valid, axis=1) - 1, 0)
    with torch.no_grad():
        found = theirs(
            torch.tensor(tokens),
            attention_mask=torch.tensor(valid.astype(np.int64)),
            position_ids=torch.tensor(positions),
        )
    tokens = jnp.asarray(tokens, jnp.int32)
    logits = jax.jit(ours.apply)(params, tokens, jnp.asarray(valid))
    np.testing.assert_allclose(np.asarray(logits)[valid], found.logits.numpy()[valid], atol=1e-4)
