import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.nn import Norm


def _inputs():
    rng = np.random.default_rng(0)
    x = (3 * rng.normal(size=(2, 5, 8)) + 1).astype(np.float32)
    return x, rng.normal(size=8).astype(np.float32), rng.normal(size=8).astype(np.float32)


def test_layer_norm_equals_torch():
    torch = pytest.importorskip("torch")
    x, scale, bias = _inputs()
    theirs = torch.nn.LayerNorm(8, eps=1e-3)
    theirs.weight.data, theirs.bias.data = torch.tensor(scale), torch.tensor(bias)
    ours = Norm("layer", eps=1e-3).apply({"params": {"scale": scale, "bias": bias}}, x)
    np.testing.assert_allclose(ours, theirs(torch.tensor(x)).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_gradients_equal_those_of_torch(kind):
    torch = pytest.importorskip("torch")
    x, scale, bias = _inputs()
    weight = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    states = torch.tensor(x, requires_grad=True)
    theirs = {"rms": torch.nn.RMSNorm, "layer": torch.nn.LayerNorm}[kind](8, eps=1e-3)
    theirs.weight.data = torch.tensor(scale)
    params = {"scale": scale}
    if kind == "layer":
        theirs.bias.data, params["bias"] = torch.tensor(bias), bias
    (torch.tanh(theirs(states)) * torch.tensor(weight)).sum().backward()

    def loss(params, x):
        return (jnp.tanh(Norm(kind, eps=1e-3).apply({"params": params}, x)) * weight).sum()

    of_params, of_x = jax.grad(loss, (0, 1))(params, x)
    np.testing.assert_allclose(of_x, states.grad.numpy(), atol=1e-5)
    np.testing.assert_allclose(of_params["scale"], theirs.weight.grad.numpy(), atol=1e-5)
    if kind == "layer":
        np.testing.assert_allclose(of_params["bias"], theirs.bias.grad.numpy(), atol=1e-5)


def test_rms_norm_equals_hugging_face_llama():
    torch = pytest.importorskip("torch")
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    x, scale, _ = _inputs()
    theirs = llama.LlamaRMSNorm(8, eps=1e-3)
    theirs.weight.data = torch.tensor(scale)
    ours = Norm("rms", eps=1e-3).apply({"params": {"scale": scale}}, x)
    np.testing.assert_allclose(ours, theirs(torch.tensor(x)).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_bfloat16_input_is_normalized_in_float32_and_returned_as_bfloat16(kind):
    x = jnp.asarray(_inputs()[0], jnp.bfloat16)
    norm = Norm(kind)
    variables = norm.init(jax.random.key(0), x)
    found = norm.apply(variables, x)
    assert found.dtype == jnp.bfloat16
    exact = norm.apply(variables, x.astype(jnp.float32))
    # Rounding the result once is the only loss: half a unit in the last of bfloat16's 8 bits.
    np.testing.assert_array_equal(found, exact.astype(jnp.bfloat16))
