"""The options `--engine`, `--workers` and `--address` of commands that work by rows."""

from contextlib import AbstractContextManager, nullcontext

from jaxrec.core import LOCAL, ConfigError, Engine, RayEngine, nearest

ENGINES = ("local", "ray")
OPTIONS = ("--engine", "--workers", "--address")


def chosen_engine(
    engine: str = "local", workers: int | None = None, address: str = ""
) -> AbstractContextManager[Engine]:
    """Return the engine of a command, which is used in a `with` block.

    Args:
      engine: "local" or "ray".
      workers: number of Ray's workers.
      address: of a Ray cluster; "" for one on this machine.

    Raises:
      ConfigError: an unknown engine; options of Ray without it; or no number of workers.

    Example:
      >>> chosen_engine("local", workers=2)
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --workers is read with --engine ray; give --engine ray too
    """
    if engine not in ENGINES:
        raise ConfigError(
            f"--engine is {engine!r}{nearest(engine, ENGINES) or ';'} engines: {', '.join(ENGINES)}"
        )
    if engine == "local":
        for option, given in (("--workers", workers is not None), ("--address", bool(address))):
            if given:
                raise ConfigError(f"{option} is read with --engine ray; give --engine ray too")
        return nullcontext(LOCAL)
    if workers is None:
        raise ConfigError(
            "--engine ray needs the number of workers: --workers N, each with an accelerator, or "
            "with a share of the processors where there are none"
        )
    return RayEngine(workers=workers, address=address)


def keep_to_cpu(engine: str) -> None:
    """Leave the accelerators of this machine to the workers, if there are any.

    Args:
      engine: of the command, before it has computed anything.
    """
    if engine != "local":
        import jax

        jax.config.update("jax_platforms", "cpu")


def as_workers(word: str | None) -> int | None:
    """Return the number that follows `--workers`.

    Raises:
      ConfigError: it is not a whole number.

    Example:
      >>> as_workers("2")
      2
    """
    if word is None:
        return None
    try:
        return int(word)
    except ValueError as error:
        raise ConfigError(f"--workers: expected a whole number, got {word!r}") from error
