"""Hugging Face in PyTorch as a peer of the training step, with the same configuration."""

from typing import Any

import torch
import transformers

from support.train_rows import BETA2, DECAY, LR, Row


class Theirs:
    """The model of Hugging Face, with its default attention and PyTorch's fused AdamW."""

    def __init__(self, row: Row, compiled: bool) -> None:
        torch.manual_seed(0)
        self.model = peer_of(row)
        self.size = sum(p.numel() for p in self.model.parameters())
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), LR, (0.9, BETA2), weight_decay=DECAY, fused=True
        )
        arrays = [torch.tensor(x, dtype=torch.long) for x in row.arrays()]
        self.batch = {"input_ids": arrays[0], "labels": arrays[-1], "use_cache": False}
        self.run = torch.compile(self.model) if compiled else self.model

    def forward(self) -> None:
        self.model.eval()
        with torch.inference_mode():
            self.run(**self.batch).loss.item()

    def step(self) -> None:
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        self.run(**self.batch).loss.backward()
        self.optimizer.step()


def peer_of(row: Row) -> Any:
    """The model of transformers with the configuration of a row."""
    c = row.config
    if row.family == "t5":
        return transformers.T5ForConditionalGeneration(
            transformers.T5Config(
                vocab_size=c.vocab_size,
                d_model=c.width,
                d_kv=c.head_width,
                d_ff=c.mlp_hidden,
                num_layers=c.depth,
                num_heads=c.num_heads,
                dropout_rate=c.dropout,
                feed_forward_proj=c.activation,
                decoder_start_token_id=0,
            )
        )
    if row.family == "llama":
        return transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=c.vocab_size,
                hidden_size=c.width,
                intermediate_size=c.mlp_hidden,
                num_hidden_layers=c.depth,
                num_attention_heads=c.num_heads,
                num_key_value_heads=c.kv_heads,
                rms_norm_eps=c.norm_eps,
                rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
                tie_word_embeddings=True,
            )
        )
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=c.vocab_size,
            n_positions=c.max_length,
            n_embd=c.width,
            n_layer=c.depth,
            n_head=c.num_heads,
            embd_pdrop=c.dropout,
            resid_pdrop=c.dropout,
            attn_pdrop=c.attention_dropout,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
