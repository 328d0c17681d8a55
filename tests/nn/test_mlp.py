import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.nn import ACTIVATIONS, Einsum, Mlp

WIDTH, HIDDEN = 6, 10


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_torch_linear_layers(activation, gated, bias):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    act = {
        "gelu": torch.nn.GELU(),
        "gelu_tanh": torch.nn.GELU(approximate="tanh"),
        "relu": torch.nn.ReLU(),
        "relu2": lambda x: torch.nn.functional.relu(x) ** 2,
        "silu": torch.nn.SiLU(),
    }[activation]
    shapes = {"up": (WIDTH, HIDDEN), "down": (HIDDEN, WIDTH)}
    if gated:
        shapes["gate"] = (WIDTH, HIDDEN)
    params, linear = {}, {}
    for name, (fan_in, fan_out) in shapes.items():
        params[name] = {"kernel": rng.normal(size=(fan_in, fan_out)).astype(np.float32)}
        linear[name] = torch.nn.Linear(fan_in, fan_out, bias=bias)
        linear[name].weight.data = torch.tensor(params[name]["kernel"].T.copy())
        if bias:
            params[name]["bias"] = rng.normal(size=fan_out).astype(np.float32)
            linear[name].bias.data = torch.tensor(params[name]["bias"])
    x = rng.normal(size=(2, 3, WIDTH)).astype(np.float32)
    states = torch.tensor(x)
    if gated:
        hidden = act(linear["gate"](states)) * linear["up"](states)
    else:
        hidden = act(linear["up"](states))
    theirs = linear["down"](hidden).detach().numpy()
    layer = Mlp(HIDDEN, activation=activation, gated=gated, bias=bias)
    ours = layer.apply({"params": params}, x)
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)


def test_einsum_bias_stands_on_the_trailing_axes():
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(4, 3, 2)), rng.normal(size=(3, 2))
    x = rng.normal(size=(2, 5, 4))
    layer = Einsum("btd,dnh->btnh", (4, 3, 2), ("embed", "heads", "head_size"), bias_axes=2)
    params = {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}
    found = layer.apply({"params": params}, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, np.tensordot(x, kernel, 1) + bias, atol=1e-5)
