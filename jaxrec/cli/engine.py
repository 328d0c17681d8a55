"""The options `--engine`, `--workers` and `--address` of commands that work by rows."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from jaxrec.cli.arguments import take_option
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


def take_engine(
    words: Sequence[str],
) -> tuple[list[str], AbstractContextManager[Engine]]:
    """Take the options of the engine out of the words of a command.

    With Ray, the command keeps to the CPU; see `keep_to_cpu`.

    Returns:
      The other words, and what `chosen_engine` returns.

    Raises:
      ConfigError: see `take_option` and `chosen_engine`; or `--workers` is not a whole number.

    Example:
      >>> take_engine(["tiger/ml100k", "--engine=local", "--train.steps", "5"])[0]
      ['tiger/ml100k', '--train.steps', '5']
    """
    rest, values = list(words), []
    for option in OPTIONS:
        rest, value = take_option(rest, option)
        values.append(value)
    engine, workers, address = values
    try:
        number = None if workers is None else int(workers)
    except ValueError as error:
        raise ConfigError(f"--workers: expected a whole number, got {workers!r}") from error
    chosen = chosen_engine(engine or "local", number, address or "")
    keep_to_cpu(engine or "local")
    return rest, chosen
