"""`jaxrec completion bash | zsh | fish`: a script that completes commands, configs and options.

The script holds all words, so that a press of Tab starts no Python. Write it again after an update.
"""

import dataclasses
import importlib
import shlex
from collections.abc import Callable, Mapping, Sequence

from jaxrec.cli.arguments import FLAGS
from jaxrec.cli.configs import config_names
from jaxrec.cli.engine import OPTIONS
from jaxrec.core import ConfigError, flatten, nearest

# Commands whose first argument is a config.
_CONFIGS = ("train", "compare", "sweep", "ids", "copy", "capacity")
# Commands whose options are the settings of a config.
_SETTINGS = ("train", "ids")
_INSTALL = {
    "bash": 'eval "$(jaxrec completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(jaxrec completion zsh)"  # in ~/.zshrc, after compinit',
    "fish": "jaxrec completion fish > ~/.config/fish/completions/jaxrec.fish",
}
_BASH = """\
_jaxrec() {{
    local words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words={commands}
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _jaxrec jaxrec
"""


def run(arguments: list[str]) -> None:
    """Print the script of a shell.

    Raises:
      ConfigError: no shell is named, or one that is not known.
    """
    if not arguments or arguments in (["-h"], ["--help"]):
        print(f"usage: jaxrec completion {' | '.join(SCRIPTS)}\n")
        print("Print a script that completes commands, names of configs, and options:\n")
        print("\n".join(f"  {line}" for line in _INSTALL.values()))
        return
    shell, *rest = arguments
    if shell not in SCRIPTS:
        raise ConfigError(
            f"no shell {shell!r}{nearest(shell, SCRIPTS)}; shells: {', '.join(SCRIPTS)}"
        )
    if rest:
        raise ConfigError(f"unexpected argument {rest[0]!r}; jaxrec completion takes one shell")
    print(SCRIPTS[shell](words_of_commands()), end="")


def words_of_commands() -> dict[str, list[str]]:
    """The words that may follow each command: verbs, configs and options, in this order."""
    from jaxrec.cli.main import COMMANDS
    from jaxrec.systems.generative import Config

    settings = [_option(name) for name, _ in flatten(Config())]
    found = {}
    for name in COMMANDS:
        module = importlib.import_module(f"jaxrec.cli.{name.replace('-', '_')}")
        words = [*getattr(module, "_VERBS", ())]
        if name in _CONFIGS:
            words += config_names()
        if name == "completion":
            words += SCRIPTS
        if name in _SETTINGS:
            own = FLAGS if name == "train" else OPTIONS
            words += ["--run-dir", *own, *settings]
        elif dataclasses.is_dataclass(kind := getattr(module, "Arguments", None)):
            words += [_option(field.name) for field in dataclasses.fields(kind)]
        found[name] = [*words, "--help"]
    return found


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def bash(words: Mapping[str, Sequence[str]]) -> str:
    """The script for bash.

    Example:
      >>> print(bash({"list": ["configs", "data"]}).splitlines()[6].strip())
      list) words='configs data' ;;
    """
    cases = "\n".join(
        f"            {name}) words={shlex.quote(' '.join(options))} ;;"
        for name, options in words.items()
    )
    commands = shlex.quote(" ".join([*words, "--help", "--version"]))
    return _BASH.format(commands=commands, cases=cases)


def zsh(words: Mapping[str, Sequence[str]]) -> str:
    """The script for zsh, which runs that of bash."""
    return "autoload -U +X bashcompinit && bashcompinit\n" + bash(words)


def fish(words: Mapping[str, Sequence[str]]) -> str:
    """The script for fish.

    Example:
      >>> print(fish({"list": ["data"]}).splitlines()[-1])
      complete -c jaxrec -n '__fish_seen_subcommand_from list' -a data
    """
    from jaxrec.cli.main import COMMANDS

    first = [
        f"complete -c jaxrec -n __fish_use_subcommand -f -a {name} -d {shlex.quote(COMMANDS[name])}"
        for name in words
    ]
    later = [
        f"complete -c jaxrec -n '__fish_seen_subcommand_from {name}' "
        f"-a {shlex.quote(' '.join(options))}"
        for name, options in words.items()
    ]
    return "\n".join([*first, *later]) + "\n"


SCRIPTS: dict[str, Callable[[Mapping[str, Sequence[str]]], str]] = {
    "bash": bash,
    "zsh": zsh,
    "fish": fish,
}
