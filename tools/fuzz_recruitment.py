"""Readers of jobs, resumes, interviews and matches, for `fuzz.py`."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Folder = Mapping[str, bytes]

JOB = {
    "id": 7,
    "title": "Baker",
    "salary": "45,000 EUR",
    "skills": ["dough", "C++"],
    "responsibilities": "Bake.\nSell.",
}
PERSON = {"id": "a", "basic": "Aged 30", "sections": {"profile": "I bake."}, "salary": 1e4}


def _recruitment_samples() -> list[Folder]:
    jobs = "".join(json.dumps(JOB | {"id": n}) + "\n" for n in range(3)).encode()
    people = json.dumps([PERSON, PERSON | {"id": "b"}]).encode()
    matches = b"person,job,matched,time\na,0,yes,2024-01-31\nb,1,0,2024-02-01T10:00:00Z\n"
    interviews = b'job;person;assessment;passed;level\n0;a;"Good; very";true;senior\n'
    table = b'id\ttitle\tskills\n0\t"Baker, night"\tdough;C++\n1\tCook\t\n'
    others = {"people.json": people, "matches.csv": matches, "interviews.csv": interviews}
    return [{"jobs.jsonl": jobs} | others, {"jobs.tsv.gz": gzip.compress(table, mtime=0)} | others]


def _read_recruitment(folder: Path) -> object:
    """Read and clean."""
    from jaxrec.data.recruitment import CleanOptions, clean_recruitment, read_recruitment

    paths = {path.name.partition(".")[0]: path for path in folder.iterdir()}
    loaded = read_recruitment(
        paths["jobs"],
        paths["people"],
        interviews=paths["interviews"],
        matches=paths["matches"],
        salaries="missing",
        empty="skip",
    )
    return clean_recruitment(loaded.records[0], CleanOptions(missing="drop")).counts


ENTRIES: tuple[tuple[str, Callable[[], Sequence[Folder]], Callable[[Path], object]], ...] = (
    ("recruitment", _recruitment_samples, _read_recruitment),
)
