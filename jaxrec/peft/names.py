"""Names of parameters: which parameters a name selects, and a random key for each path."""

from collections.abc import Iterable

import jax

from jaxrec.core import ConfigError, nearest


def key_of(key: jax.Array, path: str) -> jax.Array:
    """Return the random key of the layer at `path`, which does not depend on other layers."""
    return jax.random.fold_in(key, int.from_bytes(path.encode(), "little") % (2**31 - 1))


def find(leaves: Iterable[str], names: tuple[str, ...]) -> set[str]:
    """Return the paths of the parameters that names select.

    Args:
      leaves: paths of the parameters.
      names: whole paths of parameters or modules. A name that is not a whole path selects all paths
        that end in it, after a slash or an underscore ("norm" selects "final_norm").

    Raises:
      ConfigError: a name selects nothing; the message suggests the nearest one.
    """
    modules = {path: _upward(path) for path in leaves}
    found: set[str] = set()
    for name in names:
        chosen = {path for path, above in modules.items() if name in above}
        if not chosen:
            ends = (f"/{name}", f"_{name}")
            chosen = {
                path
                for path, above in modules.items()
                if any(f"/{module}".endswith(ends) for module in above)
            }
        if not chosen:
            known = sorted({part for path in leaves for part in path.split("/")})
            tied = "; a head that is tied to the embedding is trained as part of it"
            raise ConfigError(
                f"no parameter {name!r} for tune.also{nearest(name, known)}; names: "
                f"{', '.join(known)}{tied if name == 'head' else ''}"
            )
        found |= chosen
    return found


def _upward(path: str) -> set[str]:
    """Return a path and the paths of all modules that contain it."""
    parts = path.split("/")
    return {"/".join(parts[:n]) for n in range(1, len(parts) + 1)}
