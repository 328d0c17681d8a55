"""The layout of a text among prompts, and the vectors of the prompts, against torch's BiLSTM."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.core import ConfigError
from jaxrec.data import ReservedTokens, train_reserved
from jaxrec.nn import init_lstm_direction
from jaxrec.systems.recruitpro import InputConfig
from jaxrec.systems.recruitpro.prompts import Layout, init_prompts, prompt_table

V = 370
SLOTS = (2, 3, 1, 2)


@pytest.fixture(scope="module")
def reserved():
    return ReservedTokens.of(train_reserved(["a job"], V))


def test_the_layout_of_a_prompted_text(reserved):
    layout = Layout.of(InputConfig(slots=SLOTS), reserved, V)
    rows, sizes = layout.fill([[300, 301], [300] * 9], most=4)
    begin, mask, end, pad = reserved.bos, reserved.mask, reserved.eos, reserved.pad
    # Slots are numbered in the order of the row, across the mask.
    ahead = [begin, V, V + 1, V + 2, V + 3, V + 4, V + 5, mask, V + 6, V + 7]
    assert rows.tolist() == [
        [*ahead, 300, 301, end, pad, pad],
        [*ahead, 300, 300, 300, 300, end],
    ]
    assert sizes.tolist() == [13, 15]
    assert layout.read == ahead.index(mask)
    assert list(range(*layout.skill)) == [ahead.index(V + k) for k in (2, 3, 4)]


def test_the_layout_without_prompts(reserved):
    layout = Layout.of(InputConfig(form="cls", slots=SLOTS), reserved, V)
    rows, sizes = layout.fill([[300]], most=2)
    assert rows.tolist() == [[reserved.bos, 300, reserved.eos, reserved.pad]]
    assert (layout.read, sizes.tolist()) == (0, [3])


def test_a_tokenizer_without_a_mask_is_rejected(reserved):
    import dataclasses

    without = dataclasses.replace(reserved, mask=-1)
    Layout.of(InputConfig(form="cls"), without, V)
    with pytest.raises(ConfigError, match=r"no mask token, which --input\.form prompt needs"):
        Layout.of(InputConfig(form="prompt"), without, V)


def _torch_table(network, rows):
    """torch's BiLSTM and MLP with the weights of a network."""
    torch = pytest.importorskip("torch")
    width, size = rows.shape[1], network.lstm[0][0].state.shape[0]
    lstm = torch.nn.LSTM(width, size, 2, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for number, layer in enumerate(network.lstm):
            for direction, end in zip(layer, ("", "_reverse"), strict=True):
                for name, values in (
                    ("weight_ih", direction.read.T),
                    ("weight_hh", direction.state.T),
                    ("bias_ih", direction.bias),
                    ("bias_hh", 0 * direction.bias),
                ):
                    getattr(lstm, f"{name}_l{number}{end}").copy_(torch.tensor(np.array(values)))
        x = lstm(torch.tensor(np.array(rows))[None])[0][0]
        for place, layer in enumerate(network.mlp):
            x = x @ torch.tensor(np.array(layer.kernel)) + torch.tensor(np.array(layer.bias))
            x = x if place == len(network.mlp) - 1 else torch.relu(x)
    return x.numpy()


def test_the_skill_prompt_is_shared_and_stands_between_the_task_prompts():
    config, tasks, width = InputConfig(slots=SLOTS), 3, 8
    network = nn.meta.unbox(init_prompts(jax.random.key(0), config, tasks, width))
    assert network.embedding.shape == (3 + tasks * 5, width)
    for task in range(tasks):
        own = network.embedding[3 + 5 * task : 8 + 5 * task]
        # First task prompt, skill prompt, second and third task prompt.
        rows = jnp.concatenate([own[:2], network.embedding[:3], own[2:]])
        expected = _torch_table(network, rows)
        found = prompt_table(network, config, jnp.int32(task))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    change = jax.grad(lambda n: prompt_table(n, config, jnp.int32(1)).sum())(network).embedding
    touched = np.abs(np.asarray(change)).sum(axis=1) > 0
    assert touched.nonzero()[0].tolist() == [0, 1, 2, 8, 9, 10, 11, 12]


def test_p_tuning_shares_no_prompt():
    config = InputConfig(slots=SLOTS, form="prompt")
    network = nn.meta.unbox(init_prompts(jax.random.key(0), config, 2, 8))
    assert network.embedding.shape == (2 * 8, 8)
    expected = _torch_table(network, network.embedding[8:])
    np.testing.assert_allclose(prompt_table(network, config, jnp.int32(1)), expected, atol=1e-5)


def test_padding_leaves_the_state_of_an_lstm_as_it_is():
    layer = nn.meta.unbox(init_lstm_direction(jax.random.key(0), 4, 3))
    x = jax.random.normal(jax.random.key(1), (5, 4))
    valid = jnp.array([True, False, True, True, False])
    short = layer(x[np.array([0, 2, 3])], reverse=False)[-1]
    np.testing.assert_allclose(layer(x, reverse=False, valid=valid)[-1], short, atol=1e-6)
    back = layer(x[np.array([0, 2, 3])], reverse=True)[0]
    np.testing.assert_allclose(layer(x, reverse=True, valid=valid)[0], back, atol=1e-6)
