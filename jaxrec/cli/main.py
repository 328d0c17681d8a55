"""`jaxrec COMMAND`: finds the command's module, runs it, and turns errors into a line and a code.

Nothing heavy is imported before the command is known, so `jaxrec --help` is quick and starts no
backend.
"""

import importlib
import io
import sys

from jaxrec.core import JaxrecError, is_out_of_memory, nearest, printable

COMMANDS = {
    "list": "list configs, data sets and systems",
    "copy": "copy a config file that comes with jaxrec, to edit it",
    "train": "train a config, or resume its run",
    "eval": "measure a run beside its baselines",
    "compare": "compare configs and runs on one data set, in one table",
    "sweep": "train and measure the named variants of a config, in one table",
    "capacity": "measure what a language model can do, task by task",
    "scaling": "fit scaling laws to trainings, and plan the size for a budget",
    "recommend": "recommend items to a user of a run",
    "serve": "serve a text model over HTTP, in the protocol of OpenAI",
    "skills": "find skills in the texts of a file, by a trained tagger",
    "report": "write the report of a run as one HTML file",
    "import-hf": "convert weights of Hugging Face, GGUF or llama2.c to a model directory",
    "export": "write a run or a model in Hugging Face's format",
    "ids": "fit the item IDs of a config and show their statistics",
    "data": "list, describe or add data sets",
    "corpus": "prepare a corpus for pre-training: filter, deduplicate, tokenize, pack",
    "feedback": "collect feedback of labelers on a page, and measure their agreement",
    "doctor": "show versions, devices and free disk, and flag what does not work",
    "completion": "print a script that completes commands in bash, zsh or fish",
}
USAGE = "usage: jaxrec COMMAND [ARGUMENTS]\n\n" + "\n".join(
    f"  {name:<10} {about}" for name, about in COMMANDS.items()
)
_HELP = (
    "\n\n  jaxrec COMMAND --help   show the arguments of a command"
    "\n  jaxrec --version        show the version of jaxrec"
    "\n\nfirst steps: jaxrec train quickstart"
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
      arguments: words of the command line; None for those of this process.

    Returns:
      The exit code: 0, or that of the error (2 config, 3 data, 4 resources, 5 diverged, 75
      interrupted and resumable), or 130 after Ctrl-C.

    Example:
      >>> main(["no-such-command"])  # it prints the known commands on standard error
      2
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments in (["-h"], ["--help"], ["help"]):
        print(USAGE + _HELP)
        return 0 if arguments else 2
    if arguments[0] == "--version" and len(arguments) == 1:
        from jaxrec import __version__

        print(__version__)
        return 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A title need not exist in the terminal's encoding, nor a directory's name in any.
        sys.stdout.reconfigure(errors="backslashreplace")
    name = arguments[0]
    if name in ("-h", "--help", "help", "--version"):
        print(f"jaxrec: unknown argument {arguments[1]!r} after {name}\n\n{USAGE}", file=sys.stderr)
        return 2
    if name not in COMMANDS:
        print(f"jaxrec: no command {name!r}{nearest(name, COMMANDS)}\n\n{USAGE}", file=sys.stderr)
        return 2
    try:
        module = importlib.import_module(f"jaxrec.cli.{name.replace('-', '_')}")
        module.run(arguments[1:])
    except JaxrecError as error:
        print(f"jaxrec {name}: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"jaxrec {name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = printable(" ".join(str(error).split())[:200])
        print(
            f"jaxrec {name}: out of memory{reason and f' ({reason})'}; lower --train.batch-size, "
            "--decode.batch-size, --max-items or --model.width",
            file=sys.stderr,
        )
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
