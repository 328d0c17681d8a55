"""The loss of masked tokens and next sentences against Hugging Face's BERT; packed denoising."""

import jax
import numpy as np
import torch
import transformers

from jaxrec.data import ReservedTokens
from jaxrec.models import CausalLM, MaskedPairLM, TransformerConfig, import_model
from jaxrec.objectives import (
    Corruption,
    PairMasking,
    Pairs,
    language_loss,
    masked_loss,
    mixture,
    pair_batches,
)

RESERVED = ReservedTokens(
    pad=0,
    bos=1,
    eos=2,
    mask=4,
    sentinels=np.arange(59, 39, -1, dtype=np.int32),
    modes={"R": 5, "S": 6, "X": 7},
    ordinary=np.arange(8, 40, dtype=np.int32),
)


def test_the_loss_is_that_of_bert_for_pre_training(tmp_path):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        attn_implementation="eager",
    )
    theirs = transformers.BertForPreTraining(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path / "masked")
    theirs.bert.save_pretrained(tmp_path / "encoder")
    masked, encoder = (import_model(tmp_path / kind, kind) for kind in ("masked", "encoder"))
    tree = dict(masked.params["params"])
    tree["backbone"] = encoder.params["params"]
    head = theirs.cls.seq_relationship
    # Their class 0 is "follows"; ours is 1.
    tree["follows"] = {
        "kernel": head.weight.detach().numpy().T[:, ::-1],
        "bias": head.bias.detach().numpy()[::-1],
    }
    documents = [np.arange(8, 40, dtype=np.int32), np.arange(39, 7, -1, dtype=np.int32)]
    pairs = Pairs(PairMasking(length=24, reserved=RESERVED), documents, seed=1)
    batch = next(iter(pair_batches(pairs, batch_size=6)))
    labels = np.full((6, 24), -100)
    rows = np.arange(6)[:, None]
    assert batch["weights"].all()  # each row weighs the same, as in their mean over tokens
    labels[rows, batch["places"]] = batch["labels"]
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(batch["tokens"]).long(),
            attention_mask=torch.tensor(batch["valid"]).long(),
            token_type_ids=torch.tensor(batch["types"]).long(),
            labels=torch.tensor(labels),
            next_sentence_label=torch.tensor(1 - batch["follows"]).long(),
        ).loss.item()
    assert set(batch["follows"]) == {0, 1}
    model = MaskedPairLM(encoder.spec.config)
    loss = jax.jit(lambda p, b: masked_loss(model, p, b, None))({"params": tree}, batch)
    np.testing.assert_allclose(float(loss.total / loss.weight), expected, rtol=1e-5)
    parts = float(loss.parts["masked"] + loss.parts["follows"])
    np.testing.assert_allclose(parts, float(loss.total), rtol=1e-6)


def test_packed_denoising_has_the_loss_of_the_single_examples():
    model = CausalLM(TransformerConfig(vocab_size=60, width=16, depth=1))
    rng = np.random.default_rng(0)
    corruption = Corruption(
        denoisers=mixture("ul2r", 0.3), backbone="prefix", length=24, reserved=RESERVED, per_row=3
    )
    texts = [rng.choice(RESERVED.ordinary, corruption.raw) for _ in range(6)]
    examples = [corruption.example(text, rng) for text in texts]
    assert len({example.start for example in examples}) > 1
    packed = corruption.arrange([examples[:3], examples[3:]])
    single = Corruption(
        denoisers=corruption.denoisers, backbone="prefix", length=24, reserved=RESERVED
    ).arrange([[example] for example in examples])
    params = jax.jit(model.init)(jax.random.key(0), packed["tokens"], packed["valid"])
    loss = jax.jit(lambda batch: language_loss(model, params, batch, None))
    a, b = loss(packed), loss(single)
    assert float(a.weight) == float(b.weight) == sum(len(e.targets) for e in examples)
    np.testing.assert_allclose(float(a.total), float(b.total), rtol=1e-5)
