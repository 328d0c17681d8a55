"""Products counted in a trace, against the counts of PyTorch and of a hand."""

import jax
import jax.numpy as jnp
import pytest

from jaxrec.core.flops import peak_flops, product_flops
from jaxrec.models import import_model
from jaxrec.objectives import language_loss
from jaxrec.testing.peers import make_peer


def test_loops_branches_and_convolutions_by_hand():
    x, w = jnp.ones((5, 7)), jnp.ones((7, 7))
    assert product_flops(jnp.dot, x, w) == 2 * 5 * 7 * 7

    def scanned(x, w):
        return jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=11)[0]

    assert product_flops(jax.jit(scanned), x, w) == 11 * 2 * 5 * 7 * 7

    def branching(x, w):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ w @ w, lambda: x @ w)

    assert product_flops(branching, x, w) == 2 * 2 * 5 * 7 * 7
    image, kernel = jnp.ones((2, 3, 8, 8)), jnp.ones((4, 3, 3, 3))
    convolve = jax.lax.conv_general_dilated
    flops = product_flops(lambda a, b: convolve(a, b, (1, 1), "VALID"), image, kernel)
    assert flops == 2 * (2 * 4 * 6 * 6) * (3 * 3 * 3)
    # Three of a forward pass: itself, and one for each operand's gradient.
    grad = jax.grad(lambda w, x: (x @ w).sum(), argnums=(0, 1))
    assert product_flops(grad, w, x) == 3 * 2 * 5 * 7 * 7


def test_a_language_model_counts_as_in_pytorch(tmp_path):
    torch = pytest.importorskip("torch", reason="the referee is PyTorch's counter")
    from torch.utils.flop_counter import FlopCounterMode

    peer = make_peer("gpt2", tmp_path)
    opened = import_model(tmp_path)
    model = opened.spec.build()
    rows, length = 3, 17
    tokens = torch.ones((rows, length), dtype=torch.long)
    peer.config._attn_implementation = "eager"
    with FlopCounterMode(display=False) as forward:
        peer(input_ids=tokens)
    with FlopCounterMode(display=False) as training:
        peer(input_ids=tokens, labels=tokens).loss.backward()
    # Ours reads all tokens but the last, so it is given one more.
    shape = (rows, length + 1)
    batch = {
        "tokens": jax.ShapeDtypeStruct(shape, jnp.int32),
        "valid": jax.ShapeDtypeStruct(shape, bool),
        "weights": jax.ShapeDtypeStruct(shape, jnp.float32),
    }

    def loss(params, batch):
        return language_loss(model, params, batch, None).total

    ours = product_flops(loss, opened.params, batch)
    assert ours == pytest.approx(forward.get_total_flops(), rel=1e-6)
    assert 3 * ours == pytest.approx(training.get_total_flops(), rel=0.02)


def test_peaks_of_the_data_sheets():
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops("TPU v5 lite") == 197e12
    assert peak_flops("TPU v5p") == peak_flops("TPU v5") == 459e12
    assert peak_flops("cpu") is None
