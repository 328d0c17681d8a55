"""Which implementation of an operation runs, why, and how to overrule that.

Every operation has an XLA form, which runs anywhere, and Pallas kernels: "triton" for NVIDIA GPUs,
"mosaic" for TPUs. `implementation="auto"` chooses by the platform that a computation is lowered
for, not by the devices of the process, so a function may be jitted for a CPU beside a GPU or
exported for another machine. Each operation has a function (`beam_attention_choice`,
`trie_topk_choice`) that returns the choice and its reason. Naming an implementation overrules it.
"auto" never chooses a kernel that is not known to be faster.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax

from jaxrec.core import ConfigError

Implementation = Literal["auto", "xla", "triton", "mosaic"]

# The platform that runs each kernel.
PLATFORMS = {"triton": "cuda", "mosaic": "tpu"}


@dataclasses.dataclass(frozen=True)
class Choice:
    """An implementation, and the reason why "auto" chooses it."""

    implementation: Literal["xla", "triton", "mosaic"]
    reason: str


def this_platform() -> str:
    """Return the default backend under the name that computations are lowered for."""
    backend = jax.default_backend()
    return "cuda" if backend == "gpu" else backend


def against_triton() -> str | None:
    """Return why no Triton kernel can run in this process; None if one can."""
    try:
        from jax.experimental.pallas import triton  # noqa: F401
    except ImportError:
        return "this JAX has no Pallas for Triton"
    if jax.default_backend() != "gpu":
        return None
    capability = getattr(jax.devices()[0], "compute_capability", "")
    if capability[:1].isdigit() and float(capability) < 8.0:
        return f"compute capability {capability} is below 8.0"
    mesh = jax.sharding.get_abstract_mesh()
    if jax.device_count() > 1 and (mesh.empty or set(mesh.manual_axes) != set(mesh.axis_names)):
        return (
            "there are several GPUs, and the compiler cannot divide a kernel among them; "
            "call it inside jax.shard_map"
        )
    return None


def dispatch(
    operation: str,
    implementation: Implementation,
    runs: Mapping[str, Callable[..., Any]],
    against: Mapping[str, str | None],
    choices: Mapping[str, Choice],
    *args: Any,
) -> Any:
    """Run the implementation with a name, or the one that is chosen for the platform.

    Args:
      operation: name of the operation, for error messages.
      implementation: what the caller asked for.
      runs: the implementations by name; all take `args` and return the same shapes and dtypes.
      against: why each kernel cannot run these arguments; None if it can.
      choices: what "auto" means on each platform that may have a kernel.
      *args: pytrees of arrays.

    Raises:
      ConfigError: an unknown implementation, or one that cannot run these arguments.
    """
    if implementation != "auto":
        if implementation not in runs:
            raise ConfigError(
                f"{operation} has no implementation {implementation!r}; use 'auto', "
                f"{', '.join(map(repr, runs))}"
            )
        reason = against.get(implementation)
        if reason is not None:
            raise ConfigError(
                f"{operation} cannot run as {implementation!r}: {reason}; use 'auto' or 'xla'"
            )
        return runs[implementation](*args)
    kernels = {
        platform: runs[choice.implementation]
        for platform, choice in choices.items()
        if choice.implementation != "xla"
    }
    if not kernels:
        return runs["xla"](*args)
    return jax.lax.platform_dependent(*args, default=runs["xla"], **kernels)
