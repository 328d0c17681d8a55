"""`jaxrec corpus CONFIG [--out DIR] [--dry-run] [--SETTING VALUE ...]`: prepare a corpus.

The same command continues a run that was interrupted. The last line on standard output is the
report as JSON.

--out DIR   where the corpus is written; corpora/NAME by default
--dry-run   filter the first 1,000 documents, show what is dropped, and write nothing
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from jaxrec.cli.arguments import override, parse, take_option
from jaxrec.cli.configs import find_config, run_name
from jaxrec.cli.loading import load_corpus_file
from jaxrec.core import ConfigError, check_writable, locked, quoted
from jaxrec.data.corpora import CorpusConfig, check_directory, identity, run_corpus, try_corpus

_DRY = "--dry-run"


def run(arguments: list[str]) -> None:
    """Prepare the corpus, then print what each stage dropped and the report as one JSON line."""
    prog = "jaxrec corpus CONFIG"
    if not arguments or {"-h", "--help"} & set(arguments):
        print(f"usage: {prog} [--out DIR] [--dry-run] [--SETTING VALUE ...]\n")
        print("CONFIG is a name (jaxrec list configs) or the path of a config file.")
    if not arguments or arguments[0] in ("-h", "--help"):
        print("Settings of a corpus; CONFIG --help shows those of CONFIG:\n")
        parse(CorpusConfig, ["--help"], prog=prog, default=CorpusConfig())
    word, *rest = arguments
    if word.startswith("-"):
        raise ConfigError(
            f"the config comes before the options, got {word!r} first; for example: "
            "jaxrec corpus corpus/wikitext"
        )
    path = find_config(word)
    config = load_corpus_file(path)
    dry = _DRY in rest
    rest, out = take_option([word for word in rest if word != _DRY], "--out")
    config = override(config, rest, prog=prog)
    directory = Path(out or f"corpora/{run_name(path).removeprefix('corpus-')}")
    check_directory(directory, identity(config))
    if dry:
        drops = try_corpus(config)
        _show(drops.rows)
        again = [word for word in arguments if word != _DRY]
        if drops.left:
            print(f"nothing written; next: jaxrec corpus {' '.join(map(quoted, again))}")
        else:
            print("nothing written: no document is left; correct the source or loosen a stage")
        print(json.dumps({"stages": drops.rows}))
        return
    check_writable(directory, "--out")
    with locked(directory):
        report = run_corpus(config, directory)
    _show(report["stages"])
    print(f"saved in {quoted(directory)}")
    print(json.dumps(report))


def _show(stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Print how many documents each stage was given, and how many it dropped for which reason."""
    table = Table("stage", "reason", "documents", "share of the stage")
    for stage, row in stages.items():
        table.add_row(stage, "given", f"{row['in']:,}", "")
        for reason, count in sorted(row["rejected"].items(), key=lambda pair: -pair[1]):
            if count:
                table.add_row("", reason, f"{count:,}", f"{count / row['in']:.1%}")
    Console().print(table)
