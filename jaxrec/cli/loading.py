"""Config files run as Python, with errors that name the file, the mistake and the fix."""

import dataclasses
import importlib.util
import inspect
import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxrec.capacity import Task
from jaxrec.core import ConfigError, JaxrecError, check_made, check_types, nearest
from jaxrec.data.corpora import CorpusConfig
from jaxrec.runs import Sweep, check_stages, make_quick, make_sweep, system_of

# What the functions of a config file return, by the end of their names.
_KINDS = {
    "config": "a config",
    "sweep": "variants by name",
    "stages": "configs by name",
    "tasks": "a list of tasks",
}
# Most characters that a message repeats of what Python says.
_LONGEST = 500


def load_config_file(path: Path, *, quick: bool = False) -> Any:
    """Run a config file and return its config, which may be of any system.

    Args:
      path: of the file; `find_config` finds it by name.
      quick: return the quick variant: what `get_quick_config()` returns, or else
        `make_quick(get_config())`.

    Raises:
      ConfigError: the file fails, returns no config, or one with a wrong type or an unknown name.

    Example:
      >>> from jaxrec.cli.configs import find_config
      >>> load_config_file(find_config("quickstart")).train.steps
      1500
      >>> load_config_file(find_config("quickstart"), quick=True).train.steps
      100
    """
    module = _run_file(path)
    if not hasattr(module, "get_config") and hasattr(module, "get_sweep"):
        raise ConfigError(
            f"{path} defines get_sweep() and no get_config(); run it by jaxrec sweep {path}"
        )
    own = quick and hasattr(module, "get_quick_config")
    config = _call(module, path, "get_quick_config" if own else "get_config")
    if command := getattr(config, "command", ""):
        raise ConfigError(f"{path} belongs to another command; run it by jaxrec {command} {path}")
    if not dataclasses.is_dataclass(config) and not hasattr(config, "system"):
        raise ConfigError(
            f"{path}: {'get_quick_config' if own else 'get_config'}() must return a config, such "
            f"as Config() of jaxrec.systems.generative, got {config!r:.60}"
        )
    try:
        check_made(config, "--")
        system_of(config)
        check_types(config)
    except ConfigError as error:
        raise ConfigError(_with_path(path, error)) from error
    return make_quick(config) if quick and not own else config


def load_corpus_file(path: Path) -> CorpusConfig:
    """Run a config file and return its corpus, checked.

    Args:
      path: of the file.

    Raises:
      ConfigError: the file fails or returns no `CorpusConfig`, or one with a wrong type.

    Example:
      >>> from jaxrec.cli.configs import find_config
      >>> load_corpus_file(find_config("corpus/wikitext")).source.form
      'wikitext'
    """
    module = _run_file(path)
    config = _call(module, path, "get_config")
    if not isinstance(config, CorpusConfig):
        raise ConfigError(
            f"{path}: get_config() returned no CorpusConfig but {type(config).__name__}; configs "
            "of systems are run by jaxrec train"
        )
    try:
        check_types(config)
    except ConfigError as error:
        raise ConfigError(_with_path(path, error)) from error
    return config


def load_task_file(path: Path) -> list[Task]:
    """Run a Python file and return the tasks that its `get_tasks()` returns.

    Args:
      path: of the file.

    Raises:
      ConfigError: the file fails, or its function returns no tasks.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "mine.py"
      >>> head = "from jaxrec.capacity import TASKS"
      >>> _ = path.write_text(f"{head}; get_tasks = lambda: [TASKS['blimp']]")
      >>> [task.name for task in load_task_file(path)]
      ['blimp']
    """
    found = _call(_run_file(path), path, "get_tasks")
    tasks = [found] if isinstance(found, Task) else found
    if (
        not isinstance(tasks, list | tuple)
        or not tasks
        or not all(isinstance(task, Task) for task in tasks)
    ):
        raise ConfigError(
            f"{path}: get_tasks() must return a list of tasks of jaxrec.capacity, got {found!r:.60}"
        )
    return list(tasks)


def load_sweep_file(path: Path, *, quick: bool = False) -> Sweep:
    """Run a config file and return its sweep, checked.

    Args:
      path: of the file.
      quick: make every variant quick, by `get_quick_sweep()` or else `make_quick`.

    Raises:
      ConfigError: the file fails or has no sweep, or `make_sweep` rejects it.

    Example:
      >>> from jaxrec.cli.configs import find_config
      >>> list(load_sweep_file(find_config("tallrec/shots")).variants)
      ['16', '64', '256', 'all']
    """
    module = _run_file(path)
    if not hasattr(module, "get_sweep"):
        advice = f"to train one config with several seeds: jaxrec compare {path} --seeds 3"
        if hasattr(module, "get_config") and not _ranks(_call(module, path, "get_config")):
            advice = "a sweep of one config with several seeds has one variant and --seeds 3"
        raise ConfigError(
            f"{path} defines no get_sweep(), which returns the variants by name; {advice}"
        )
    own = quick and hasattr(module, "get_quick_sweep")
    try:
        sweep = make_sweep(_call(module, path, "get_quick_sweep" if own else "get_sweep"))
    except ConfigError as error:
        raise ConfigError(_with_path(path, error)) from error
    if not quick or own:
        return sweep
    starts = {place: make_quick(config) for place, config in sweep.starts.items()}
    quick_sweep = change_variants(sweep, lambda _, config: make_quick(config))
    return dataclasses.replace(quick_sweep, starts=starts)


def load_stages(path: Path, final: Any, *, quick: bool = False) -> dict[str, Any]:
    """Run a config file and return the stages that come before its config; none if it has none.

    Args:
      path: of the file.
      final: the config that is trained after them.
      quick: make every stage quick.

    Raises:
      ConfigError: the file fails, or `check_stages` rejects what it returns.

    Example:
      >>> from jaxrec.cli.configs import find_config
      >>> list(load_stages(find_config("domain/jobs"), None))
      ['pretrain', 'instruct']
    """
    module = _run_file(path)
    found = _call(module, path, "get_stages") if hasattr(module, "get_stages") else {}
    try:
        stages = check_stages(found, final)
    except ConfigError as error:
        raise ConfigError(_with_path(path, error)) from error
    return {name: make_quick(stage) for name, stage in stages.items()} if quick else stages


def _ranks(config: Any) -> bool:
    """Whether `jaxrec compare` takes a config; for one of no system it has the better error."""
    try:
        return hasattr(system_of(config), "rank")
    except ConfigError:
        return True


def change_variants(sweep: Sweep, change: Callable[[str, Any], Any]) -> Sweep:
    """The sweep with each variant replaced by `change(name, variant)`, checked again."""
    variants: Mapping[str, Any] = {n: change(n, config) for n, config in sweep.variants.items()}
    return make_sweep(dataclasses.replace(sweep, variants=variants))


def _run_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file; a config file ends in .py")
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader
    _guarded(path, module, lambda: loader.exec_module(module))
    return module


def _call(module: ModuleType, path: Path, function: str) -> Any:
    if not hasattr(module, function):
        raise ConfigError(
            f"{path} defines no {function}(); it must return {_KINDS[function.rpartition('_')[2]]}"
            f"{', see quickstart' if function == 'get_config' else ''}"
        )
    value = getattr(module, function)
    kind = _KINDS[function.rpartition("_")[2]]
    if not callable(value):
        raise ConfigError(
            f"{path}: {function} must be a function that returns {kind}, got {value!r:.60}"
        )
    if inspect.iscoroutinefunction(value) or inspect.isgeneratorfunction(value):
        wrong = "async def" if inspect.iscoroutinefunction(value) else "yield"
        raise ConfigError(
            f"{path}: {function} must be a plain function that returns {kind}; write it without "
            f"{wrong}"
        )
    return _guarded(path, module, value)


def _guarded(path: Path, module: ModuleType, action: Callable[[], Any]) -> Any:
    """Run code of a config file; its mistakes become one line that names the file."""
    try:
        return action()
    except JaxrecError as error:
        raise type(error)(_with_path(path, error)) from error
    except TypeError as error:
        raise ConfigError(f"{_place(path, error)}: {_explain(error, module)[:_LONGEST]}") from error
    except SystemExit as error:
        raise ConfigError(
            f"{_place(path, error)}: the file exits with {error.code!r}; remove the call of "
            "sys.exit()"
        ) from error
    except SyntaxError as error:
        line = f":{error.lineno}" if _is_of(error.filename, path) else ""
        raise ConfigError(f"{path}{line}: SyntaxError: {error.msg}") from error
    except Exception as error:
        raise ConfigError(
            f"{_place(path, error)}: {type(error).__name__}: {error!s:.{_LONGEST}}"
        ) from error


def _with_path(path: Path, error: Exception) -> str:
    return str(error) if str(error).startswith(str(path)) else f"{_place(path, error)}: {error}"


def _place(path: Path, error: BaseException) -> str:
    """The path, with the line of the file in which the error arose if that is known."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if _is_of(frame.filename, path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _is_of(filename: str | None, path: Path) -> bool:
    """Whether code is of a file; Python names the file by its absolute path."""
    return filename is not None and Path(filename).absolute() == path.absolute()


def _explain(error: TypeError, module: ModuleType) -> str:
    """Name the nearest setting where a config file uses one that does not exist."""
    match = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not match:
        return str(error)
    kind = getattr(module, match[1], None)
    names = [field.name for field in dataclasses.fields(kind)] if kind is not None else []
    return f"{match[1]} has no setting {match[2]!r}{nearest(match[2], names)}"
