"""Bodies of the neural baselines against PyTorch and transformers with the same weights."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.baselines.bert4rec import Bert4RecConfig
from jaxrec.baselines.caser import CaserBody, CaserConfig
from jaxrec.baselines.gru4rec import Gru4RecConfig, GruBody
from jaxrec.baselines.item_table import (
    FIRST,
    ItemTable,
    SequentialModel,
    history_tokens,
    mask_token,
    vocabulary,
)
from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.baselines.sequential import make_model, scores as eager_scores
from jaxrec.baselines.sequential_loss import sequence_loss
from jaxrec.ids import write_histories
from jaxrec.models import CausalLM
from jaxrec.objectives import id_loss

torch = pytest.importorskip("torch")

ITEMS, ROWS = 9, 4
scores = jax.jit(eager_scores, static_argnames=("config", "num_items"))
HISTORIES = [np.array([3, 1, 4]), np.array([], int), np.array([0, 8, 2, 7, 5]), np.array([6])]


def tokens_of(max_items=5):
    token_of = vocabulary(ITEMS).tokens(np.arange(ITEMS)[:, None])
    return jnp.asarray(write_histories(HISTORIES, token_of, max_items))


def random_tree(shapes, scale=0.4, seed=0):
    """Values large enough to reveal a wrong gate, filter or mask."""
    leaves, tree = jax.tree.flatten(nn.meta.unbox(shapes))
    rng = np.random.default_rng(seed)
    return tree.unflatten(
        [jnp.asarray(rng.normal(size=leaf.shape) * scale, jnp.float32) for leaf in leaves]
    )


def random_params(module, *arguments, scale=0.4):
    return random_tree(jax.eval_shape(module.init, jax.random.key(0), *arguments), scale)


def batch_of(length=7, width=6):
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(ROWS, length, width)), jnp.float32)
    valid = np.arange(length)[None] >= np.array([0, 3, 6, 1])[:, None]
    return x, jnp.asarray(valid)


def to_torch(parameter, array):
    with torch.no_grad():
        parameter.copy_(torch.tensor(np.asarray(array)))


@pytest.mark.parametrize("depth", [1, 2])
def test_gru_equals_pytorch_on_every_row_without_its_padding(depth):
    x, valid = batch_of()
    body = GruBody(width=6, depth=depth)
    params = random_params(body, x, valid)
    found = np.asarray(jax.jit(body.apply)(params, x, valid))
    theirs = torch.nn.GRU(6, 6, num_layers=depth, batch_first=True)
    for layer in range(depth):
        ours = params["params"][f"gru_{layer}"]
        to_torch(getattr(theirs, f"weight_ih_l{layer}"), ours["input"]["kernel"].T)
        to_torch(getattr(theirs, f"bias_ih_l{layer}"), ours["input"]["bias"])
        to_torch(getattr(theirs, f"weight_hh_l{layer}"), ours["cell"]["recurrent"]["kernel"].T)
        to_torch(getattr(theirs, f"bias_hh_l{layer}"), ours["cell"]["recurrent"]["bias"])
    for row in range(ROWS):
        alone = torch.tensor(np.asarray(x[row][valid[row]]))[None]
        expected = theirs(alone)[0][0].detach().numpy()
        np.testing.assert_allclose(found[row][np.asarray(valid[row])], expected, atol=1e-5)
        assert (found[row][~np.asarray(valid[row])] == 0).all()


@pytest.mark.parametrize("tied", [False, True])
def test_gru4rec_scores_equal_pytorch(tied):
    config = Gru4RecConfig(width=6, max_items=5, tied=tied)
    model = make_model(config, ITEMS)
    variables = random_params(model, tokens_of())
    params = variables["params"]
    history = np.stack([np.pad(h, (5 - len(h), 0), constant_values=-1) for h in HISTORIES])
    found = scores({**variables, "fixed": {}}, {"history": history}, config=config, num_items=ITEMS)
    gru, linear = torch.nn.GRU(6, 6, batch_first=True), torch.nn.Linear(6, ITEMS)
    ours = params["body"]["gru_0"]
    to_torch(gru.weight_ih_l0, ours["input"]["kernel"].T)
    to_torch(gru.bias_ih_l0, ours["input"]["bias"])
    to_torch(gru.weight_hh_l0, ours["cell"]["recurrent"]["kernel"].T)
    to_torch(gru.bias_hh_l0, ours["cell"]["recurrent"]["bias"])
    table = params["items"]["table"]
    to_torch(linear.weight, table[FIRST : FIRST + ITEMS] if tied else params["items"]["out"])
    to_torch(linear.bias, params["items"]["bias"])
    for row, items in enumerate(HISTORIES):
        # The token that begins a history, then its items.
        read = np.asarray(params["items"]["table"])[
            np.concatenate([[1], items + FIRST]).astype(int)
        ]
        expected = linear(gru(torch.tensor(read)[None])[0][0, -1]).detach().numpy()
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


def test_caser_equals_pytorch_convolutions_at_every_place():
    x, valid = batch_of()
    body = CaserBody(width=6, image=5, heights=(1, 2, 4), horizontal=3, vertical=2)
    params = random_params(body, x, valid)
    found = np.asarray(jax.jit(body.apply)(params, x, valid))
    p = params["params"]
    convolutions = []
    for height in (1, 2, 4):
        layer = torch.nn.Conv2d(1, 3, (height, 6))
        to_torch(layer.weight, p[f"horizontal_{height}"]["kernel"].transpose(2, 0, 1)[:, None])
        to_torch(layer.bias, p[f"horizontal_{height}"]["bias"])
        convolutions.append(layer)
    vertical = torch.nn.Conv2d(1, 2, (5, 1), bias=False)
    to_torch(vertical.weight, p["vertical"]["kernel"].T[:, None, :, None])
    dense = torch.nn.Linear(3 * 3 + 2 * 6, 6)
    to_torch(dense.weight, p["dense"]["kernel"].T)
    to_torch(dense.bias, p["dense"]["bias"])
    zeroed = np.where(np.asarray(valid)[:, :, None], np.asarray(x), 0)
    for row in range(ROWS):
        for place in range(x.shape[1]):
            image = np.zeros((5, 6), np.float32)
            seen = zeroed[row, max(0, place - 4) : place + 1]
            image[5 - len(seen) :] = seen
            e = torch.tensor(image)[None, None]
            parts = [torch.relu(layer(e))[0, :, :, 0].amax(-1) for layer in convolutions]
            # [1, n, 1, D] of theirs is [D, n] of ours, flattened.
            parts.append(vertical(e)[0, :, 0].T.reshape(-1))
            expected = torch.relu(dense(torch.cat(parts))).detach().numpy()
            np.testing.assert_allclose(found[row, place], expected, atol=1e-5)


def test_caser_sees_no_further_than_its_image_and_never_ahead():
    x, valid = batch_of()
    body = CaserBody(width=6, image=3, heights=(2,), horizontal=3, vertical=1)
    params = random_params(body, x, valid)
    jacobian = jax.jacobian(lambda y: body.apply(params, y, jnp.ones_like(valid))[0].sum(-1))
    slope = jax.jit(jacobian)(x)[:, 0]
    reached = np.abs(np.asarray(slope)).sum(-1) > 0  # [T, T]
    place = np.arange(7)
    allowed = (place[:, None] >= place[None]) & (place[:, None] < place[None] + 3)
    assert not reached[~allowed].any() and reached.any()


def bert(config, params, transformers):
    """BertForMaskedLM with the weights of our BERT4Rec."""
    settings = transformers.BertConfig(
        vocab_size=ITEMS + FIRST + 1,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.num_heads,
        intermediate_size=4 * config.width,
        max_position_embeddings=config.max_items,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
        attn_implementation="eager",
    )
    model = transformers.BertForMaskedLM(settings).eval()
    body, width = params["body"], config.width

    def dense(layer, ours, transpose=True):
        kernel = ours["kernel"].reshape(-1, width) if not transpose else ours["kernel"]
        kernel = kernel.reshape(width, -1) if transpose else kernel
        to_torch(layer.weight, kernel.T)
        to_torch(layer.bias, ours["bias"].reshape(-1))

    def norm(layer, ours):
        to_torch(layer.weight, ours["scale"])
        to_torch(layer.bias, ours["bias"])

    embeddings = model.bert.embeddings
    to_torch(embeddings.word_embeddings.weight, params["items"]["table"])
    to_torch(embeddings.position_embeddings.weight, body["position"])
    to_torch(embeddings.token_type_embeddings.weight, np.zeros((2, width), np.float32))
    norm(embeddings.LayerNorm, body["norm"])
    for number, layer in enumerate(model.bert.encoder.layer):
        ours = jax.tree.map(lambda leaf, n=number: leaf[n], body["blocks"]["blocks"])
        for name in ("query", "key", "value"):
            dense(getattr(layer.attention.self, name), ours["attention"][name])
        dense(layer.attention.output.dense, ours["attention"]["out"], transpose=False)
        norm(layer.attention.output.LayerNorm, ours["attention_norm"])
        dense(layer.intermediate.dense, ours["mlp"]["up"])
        dense(layer.output.dense, ours["mlp"]["down"], transpose=False)
        norm(layer.output.LayerNorm, ours["mlp_norm"])
    head = model.cls.predictions
    dense(head.transform.dense, body["dense"])
    norm(head.transform.LayerNorm, body["dense_norm"])
    bias = np.zeros(ITEMS + FIRST + 1, np.float32)
    bias[FIRST : FIRST + ITEMS] = params["items"]["bias"]
    to_torch(head.bias, bias)
    return model


def test_bert4rec_equals_bert_for_masked_tokens_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = Bert4RecConfig(width=8, depth=2, num_heads=2, max_items=5)
    model = make_model(config, ITEMS)
    query = config.query(tokens_of(), ITEMS)
    variables = random_params(model, query, scale=1.0)
    theirs = bert(config, variables["params"], transformers)
    history = np.stack([np.pad(h, (5 - len(h), 0), constant_values=-1) for h in HISTORIES])
    found = scores({**variables, "fixed": {}}, {"history": history}, config=config, num_items=ITEMS)
    for row, items in enumerate(HISTORIES):
        # The newest four items and the mask, without padding.
        read = np.concatenate([items[-4:] + FIRST, [mask_token(ITEMS)]]).astype(np.int64)
        with torch.no_grad():
            logits = theirs(input_ids=torch.tensor(read)[None]).logits[0, -1].numpy()
        np.testing.assert_allclose(found[row], logits[FIRST : FIRST + ITEMS], atol=1e-4)


def test_sasrec_with_cross_entropy_is_the_decoder_with_one_token_an_item():
    # The decoder is compared with Hugging Face's in tests/models, its loss with PyTorch's.
    config = SasrecConfig(width=8, num_heads=2, max_items=5, dropout=0.0)
    ours = make_model(config, ITEMS)
    variables = random_params(ours, tokens_of()[:, :-1])
    p = variables["params"]
    body = config.body().config
    decoder = CausalLM(dataclasses.replace(body, vocab_size=ITEMS + FIRST))
    theirs = {
        "embedding": {
            "table": p["items"]["table"][: ITEMS + FIRST],
            "position": p["body"]["position"],
        },
        "decoder": p["body"]["blocks"],
    }
    decoder_loss = jax.jit(
        lambda params, tokens: id_loss(decoder, params, tokens, None, vocabulary=vocabulary(ITEMS))
    )
    expected = decoder_loss({"params": theirs}, tokens_of())
    params = {**variables, "fixed": {"frequency": jnp.ones(ITEMS)}}
    loss = jax.jit(functools.partial(sequence_loss, config, ours))
    found = loss(params, {"tokens": tokens_of()}, jax.random.key(0))
    assert float(found.weight) == float(expected.weight) == sum(map(len, HISTORIES))
    np.testing.assert_allclose(found.total, expected.total, rtol=1e-5)


def published(width, depth, heads, length):
    """The published network, as in its PyTorch ports: states from `[B, T, D]` vectors."""
    norms = [torch.nn.LayerNorm(width, eps=1e-8) for _ in range(2 * depth + 1)]
    attentions = [torch.nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(depth)]
    convolutions = [torch.nn.Conv1d(width, width, 1) for _ in range(2 * depth)]
    places = torch.nn.Embedding(length, width)

    def run(x):
        there = (x != 0).any(-1, keepdim=True)
        count = x.shape[1]
        x = (x + places.weight[length - count :]) * there
        ahead = ~torch.tril(torch.ones(count, count, dtype=torch.bool))
        for i, attention in enumerate(attentions):
            query = norms[2 * i](x)
            x = norms[2 * i + 1](query + attention(query, x, x, attn_mask=ahead)[0])
            first, second = convolutions[2 * i : 2 * i + 2]
            x = (x + second(torch.relu(first(x.transpose(1, 2)))).transpose(1, 2)) * there
        return norms[-1](x)

    return run, norms, attentions, convolutions, places


def test_sasrecs_own_blocks_equal_the_published_network():
    width, depth, heads, length = 8, 2, 2, 5
    config = SasrecConfig(
        width=width, depth=depth, num_heads=heads, max_items=length, blocks="sasrec"
    )
    model = make_model(config, ITEMS)
    variables = random_params(model, tokens_of(), scale=0.7)
    p = variables["params"]
    body = p["body"]
    blocks = [body[f"block_{i}"] for i in range(depth)]
    run, norms, attentions, convolutions, places = published(width, depth, heads, length)
    for theirs, ours in zip(
        norms,
        [block[f"{part}_norm"] for block in blocks for part in ("query", "mlp")]
        + [body["final_norm"]],
        strict=True,
    ):
        to_torch(theirs.weight, ours["scale"])
        to_torch(theirs.bias, ours["bias"])
    for i, block in enumerate(blocks):
        parts = [block[name] for name in ("query", "key", "value")]
        kernels = [part["kernel"].reshape(width, width).T for part in parts]
        to_torch(attentions[i].in_proj_weight, np.concatenate(kernels))
        to_torch(attentions[i].in_proj_bias, np.concatenate([x["bias"].ravel() for x in parts]))
        out = block["out"]
        to_torch(attentions[i].out_proj.weight, out["kernel"].reshape(width, width).T)
        to_torch(attentions[i].out_proj.bias, out["bias"])
        for theirs, name in zip(convolutions[2 * i : 2 * i + 2], ("up", "down"), strict=True):
            to_torch(theirs.weight, block["mlp"][name]["kernel"].T[:, :, None])
            to_torch(theirs.bias, block["mlp"][name]["bias"])
    # Ours count from the newest item, theirs from the oldest of a full history.
    to_torch(places.weight, body["position"][:length][::-1])
    history = np.stack([np.pad(h, (5 - len(h), 0), constant_values=-1) for h in HISTORIES])
    batch = {"history": history}
    found = np.asarray(scores({**variables, "fixed": {}}, batch, config=config, num_items=ITEMS))
    table = torch.tensor(np.asarray(p["items"]["table"][FIRST : FIRST + ITEMS]))
    for row, items in enumerate(HISTORIES):
        if not len(items):
            continue
        # Of a shorter history its own places alone: the ports also attend to the padding.
        with torch.no_grad():
            expected = run(table[torch.tensor(items)][None])[0, -1] @ table.T
        np.testing.assert_allclose(found[row], expected.numpy(), atol=1e-4)


def test_sasrecs_own_blocks_predict_no_first_item():
    config = SasrecConfig(width=8, num_heads=2, max_items=5, blocks="sasrec")
    read, target, counts = config.pairs(tokens_of(), ITEMS, jax.random.key(0))
    for row, items in enumerate(HISTORIES):
        assert np.asarray(target[row])[np.asarray(counts[row])].tolist() == [
            item + FIRST for item in items[1:]
        ]
        assert np.asarray(read[row])[np.asarray(counts[row])].tolist() == [
            item + FIRST for item in items[:-1]
        ]


def test_what_is_dropped_of_an_items_vector_is_missing_where_it_is_read_and_scored():
    class Same(nn.Module):
        def __call__(self, x, valid, deterministic=True):
            return x

    table = ItemTable(num_items=ITEMS, width=64, dropout=0.3, init_std=0.01)
    model = SequentialModel(table, Same())
    variables = model.init(jax.random.key(0), tokens_of())
    whole = np.asarray(nn.meta.unbox(variables)["params"]["items"]["table"])
    assert 0.008 < whole.std() < 0.012
    states, read, _ = model.apply(
        variables, tokens_of(), None, False, rngs={"dropout": jax.random.key(1)}
    )
    read = np.asarray(read)
    kept = read != 0
    assert 0.6 < kept.mean() < 0.8
    np.testing.assert_allclose(read[kept], whole[FIRST : FIRST + ITEMS][kept] / 0.7, rtol=1e-5)
    for row, items in enumerate(HISTORIES):
        if len(items):
            np.testing.assert_array_equal(np.asarray(states)[row, -len(items) :], read[items])
    np.testing.assert_array_equal(
        np.asarray(model.apply(variables, tokens_of())[1]), whole[FIRST : FIRST + ITEMS]
    )


@pytest.mark.parametrize(
    "config",
    [
        SasrecConfig(width=8, num_heads=2, max_items=5),
        SasrecConfig(width=8, num_heads=2, max_items=5, blocks="sasrec"),
        Gru4RecConfig(width=8, max_items=5),
        CaserConfig(width=8, max_items=5, image=4),
        Bert4RecConfig(width=8, num_heads=2, max_items=5),
    ],
)
@pytest.mark.variants(2)
def test_scores_do_not_depend_on_padding_or_on_the_other_rows(config):
    model = make_model(config, ITEMS)
    query = config.query(tokens_of(), ITEMS)
    variables = {**random_params(model, query, scale=1.0), "fixed": {}}

    def of(histories, width):
        history = np.stack(
            [np.pad(h[-width:], (max(width - len(h), 0), 0), constant_values=-1) for h in histories]
        )
        return np.asarray(scores(variables, {"history": history}, config=config, num_items=ITEMS))

    wide = of(HISTORIES, 12)
    np.testing.assert_allclose(of(HISTORIES, 5), wide, atol=1e-5)
    for row, items in enumerate(HISTORIES):
        np.testing.assert_allclose(of([items], max(len(items), 1))[0], wide[row], atol=1e-5)
    assert np.abs(wide[0] - wide[2]).max() > 1e-2


def test_history_tokens_are_those_of_write_histories():
    history = np.stack([np.pad(h, (9 - len(h), 0), constant_values=-1) for h in HISTORIES])
    for max_items in (1, 3, 5, 12):
        np.testing.assert_array_equal(history_tokens(history, max_items), tokens_of(max_items))
