"""Names of parameters: what a user's word stands for, and a random key for each."""

from collections.abc import Iterable

import jax

from jaxrec.core import ConfigError, nearest


def key_of(key: jax.Array, path: str) -> jax.Array:
    """Random key of the layer at `path`: the same whatever the other layers are."""
    return jax.random.fold_in(key, int.from_bytes(path.encode(), "little") % (2**31 - 1))


def find(leaves: Iterable[str], names: tuple[str, ...]) -> set[str]:
    """Paths of the parameters that names stand for.

    Args:
      leaves: paths of the parameters.
      names: whole paths of parameters or of modules, or else ends of them; the end of a name counts
        from an underscore on ("norm" for "final_norm").

    Raises:
      ConfigError: a name that fits none, with the nearest.
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
            tied = "; a head that is tied to the embedding is trained with it"
            raise ConfigError(
                f"no parameter {name!r} for tune.also{nearest(name, known)}; names: "
                f"{', '.join(known)}{tied if name == 'head' else ''}"
            )
        found |= chosen
    return found


def _upward(path: str) -> set[str]:
    """A path and those of the modules above it."""
    parts = path.split("/")
    return {"/".join(parts[:n]) for n in range(1, len(parts) + 1)}
