"""Rules, near-duplicates and personal data of corpora, beside DataTrove on the same documents.

    python tools/bench corpora [--documents 1000] [--words plain]

Documents are the articles of WikiText-2 and groups of problems of GSM8K, most of them changed so
that every rule has something to reject. Each rule's decision, reason and text is compared with
DataTrove's. Near-duplicates are planted as in the sheet of the sources: 300 of 1,319 problems with
2 % of their words replaced, and 100 exact copies; similarity is that of all pairs, by brute force.
Both sides are given one splitter of words, so that they count the same words; with `--words spacy`
it is DataTrove's own. Times are CPU times of one process.
"""

import dataclasses
import gzip
import itertools
import json
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from support.header import print_header
from support.table import Table

from jaxrec.core import ConfigError
from jaxrec.data import corpora
from jaxrec.data.corpora import (
    Document,
    Duplicates,
    Keys,
    Parts,
    Privacy,
    Quality,
    Source,
    find_duplicates,
    read_file,
    remove_personal,
    rule_stages,
    splitters,
)

PROBLEMS, EDITED, COPIED = 1319, 300, 100
PERSONAL = (
    *("ann@example.org", "o'brien+news@mail.example.co.uk", "jane_doe [at] host [dot] net"),
    *("8.8.8.8", "93.184.216.34", "+44 20 7946 0958", "(415) 555-2671", "415-555-2671"),
    *("+49 171 1234567", "+1 (212) 555-0187", "020 7946 0958"),
)
INNOCENT = (
    *("10.0.0.1", "192.168.1.254", "172.16.0.9", "127.0.0.1", "version 2.10.3.7", "v1.2.3.4"),
    *("1990-1991", "1,234,567", "12 345 678", "2001-09-11", "Chrome/90.1.2.3"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure.

    Attributes:
      documents: documents that the rules are compared on.
      words: splitter of words on both sides, plain or spacy.
      repeats: times that each side is timed; the shortest counts.
      data: directory with wikitext-2 and gsm8k; JAXREC_DATA by default.
    """

    documents: int = 1000
    words: str = "plain"
    repeats: int = 3
    data: Path = Path(os.environ.get("JAXREC_DATA", "shared/data"))


def articles(folder: Path) -> list[str]:
    """The articles of WikiText-2, with spaces before punctuation removed."""
    source = Source(form="wikitext")
    reads = itertools.chain.from_iterable(
        read_file(folder / "wikitext-2" / f"{part}.txt.gz", source) for part in ("valid", "test")
    )
    texts = [read.text for read in reads if isinstance(read, Document)]
    return [re.sub(r" @(.)@ ", r"\1", re.sub(r" ([.,;:!?)%'])", r"\1", text)) for text in texts]


def problems(folder: Path) -> list[str]:
    """The problems of GSM8K with their solutions."""
    lines = gzip.decompress((folder / "gsm8k" / "train.jsonl.gz").read_bytes()).splitlines()
    return ["{question}\n{answer}".format(**json.loads(line)) for line in lines]


def changed(text: str, rng: random.Random) -> str:
    """A text made worse in one of eight ways, or left nearly as it is."""
    if rng.random() < 0.7:
        # Without most of their numbers and marks, because few of these texts have words enough.
        text = re.sub(r"[^\w\s.!?]|\d|_", "", text)
    lines, words = text.splitlines(), text.split()
    kind = rng.randrange(12)
    if kind == 0:
        lines = [line for line in lines for _ in range(rng.choice((1, 1, 2, 3)))]
    elif kind == 1:
        lines = [("- " if rng.random() < 0.95 else "") + line for line in lines]
    elif kind == 2:
        lines = [line + (" ..." if rng.random() < 0.35 else "") for line in lines]
    elif kind == 3:
        number = lambda word: word if rng.random() < 0.7 else str(rng.randrange(9999))  # noqa: E731
        lines = [" ".join(map(number, line.split())) for line in lines]
    elif kind == 4:
        lines = [" ".join(words[at : at + 5]) for at in range(0, len(words), 5)]
    elif kind == 5:
        extra = ("[1]", " javascript.", " {", " Use cookies.", " lorem ipsum.", ".")
        lines = [line + (rng.choice(extra) if rng.random() < 0.05 else "") for line in lines]
    elif kind == 6:
        count = rng.randrange(2, 12)
        at = rng.randrange(max(1, len(words) - count))
        run = " ".join(words[at : at + count])
        lines = [" ".join(words), *[run] * rng.randrange(1, 40)]
        lines = [" ".join(lines)]
    elif kind == 7:
        lines = ["\n" + line if rng.random() < 0.5 else line for line in lines]
        lines.append("# " * rng.randrange(60))
    return "\n".join(lines)


def seconds(action: Callable[[], Any], repeats: int) -> float:
    """The shortest CPU time of some calls."""
    found = []
    for _ in range(repeats):
        begun = time.process_time()
        action()
        found.append(time.process_time() - begun)
    return min(found)


def megabytes(texts: Sequence[str]) -> float:
    """The size of texts in UTF-8."""
    return sum(len(text.encode()) for text in texts) / 1e6


def rules(options: Options, texts: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Compare every rule's decision with DataTrove's, and time all of them together."""
    from support.datatrove_peer import Rules

    split = splitters(options.words)
    peer = Rules(None if options.words == "spacy" else split)
    settings = Quality(words=options.words)
    stages = rule_stages(settings)
    agreed: dict[str, int] = {}
    lines = []
    for name, stage in stages.items():
        dropped = 0
        for text in texts:
            read = stage(Document("0", text))
            ours = (read.reason, "") if not isinstance(read, Document) else ("", read.text)
            theirs = peer.alone(name, text)
            # C4 may leave a text without a line, which DataTrove keeps as an empty one.
            same = ours == theirs or (ours[0] == "no line is left" and theirs == ("", ""))
            agreed[name] = agreed.get(name, 0) + same
            dropped += not isinstance(read, Document)
        lines.append(f"{name:20} agrees on {agreed[name]} of {len(texts)}, drops {dropped}")

    limits = [(getattr(corpora, name), getattr(settings, name)) for name in settings.rules]

    def ours_all() -> None:
        for text in texts:
            parts = Parts(text, split)
            for rule, limit in limits:
                found = rule(parts, limit)
                parts = parts if isinstance(found, str) else found

    def theirs_all() -> None:
        peer.forget()
        for text in texts:
            peer.all(text)

    size = megabytes(texts)
    ours = size / seconds(ours_all, options.repeats)
    theirs = size / seconds(theirs_all, options.repeats)
    lines.append(f"all rules: {ours:.2f} MB/s, DataTrove {theirs:.2f} MB/s on {size:.1f} MB")
    share = sum(agreed.values()) / (len(agreed) * len(texts))
    record = {"agreement": share, "rules_mb_s": ours, "rules_ratio": ours / theirs}
    return record, "\n".join(lines)


def planted(texts: Sequence[str], rng: random.Random) -> list[str]:
    """Some texts, followed by edited copies and by exact copies of them."""
    known = sorted({word for text in texts for word in text.split()})

    def edit(text: str) -> str:
        words = text.split(" ")
        for at in rng.sample(range(len(words)), max(1, round(0.02 * len(words)))):
            words[at] = rng.choice(known)
        return " ".join(words)

    edited = [edit(text) for text in rng.sample(list(texts), EDITED)]
    return [*texts, *edited, *rng.sample(list(texts), COPIED)]


def _runs(text: str, words: int) -> list[list[str]]:
    """The words of a text from each of the first places on, which zip to its runs of words."""
    parts = re.findall(r"[^\W_]+", text.lower())
    return [parts[at:] for at in range(words)]


def similarities(sets: Sequence[set[Any]]) -> np.ndarray:
    """The Jaccard similarity of all pairs of sets, [n, n], by counting what they share."""
    from scipy.sparse import csr_array

    known: dict[Any, int] = {}
    columns = [known.setdefault(one, len(known)) for members in sets for one in members]
    sizes = np.array([len(members) for members in sets])
    rows = np.concatenate([[0], np.cumsum(sizes)])
    shape = (len(sets), len(known))
    table = csr_array((np.ones(len(columns), np.int32), columns, rows), shape=shape)
    both = (table @ table.T).toarray()
    return both / np.maximum(sizes[:, None] + sizes[None, :] - both, 1)


def near_duplicates(options: Options, texts: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Recall and precision against all pairs, and the time of the signatures."""
    from support.datatrove_peer import Signatures

    texts = planted(texts, random.Random(0))
    settings = Duplicates(exact=False)
    keys = Keys(settings)
    rows = np.stack([keys.of(text) for text in texts])
    verdicts = find_duplicates(lambda n: rows[:, n], keys, lambda n: texts[n])
    similar = similarities(
        [set(zip(*_runs(text, settings.shingle), strict=False)) for text in texts]
    )
    # Has an earlier document that is similar enough.
    alike = (np.tril(similar, -1) >= settings.threshold).any(1)
    found = verdicts != 0
    recall = float((found & alike).sum() / alike.sum())
    precision = float((found & alike).sum() / found.sum())
    size = megabytes(texts)
    ours = size / seconds(lambda: [keys.of(text) for text in texts], options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        split = None if options.words == "spacy" else splitters(options.words)
        peer = Signatures(folder, split)
        theirs = size / seconds(lambda: peer.of(texts), options.repeats)
    memory = rows.nbytes / len(texts) + 5
    line = (
        f"near-duplicates: recall {recall:.4f}, precision {precision:.4f} on {len(texts)} "
        f"documents, {alike.sum()} of them duplicates\n"
        f"MinHash: {ours:.2f} MB/s, DataTrove {theirs:.2f} MB/s on {size:.1f} MB; "
        f"{memory:.0f} bytes a document"
    )
    record = {"recall": recall, "precision": precision, "minhash_mb_s": ours}
    return record | {"minhash_ratio": ours / theirs, "bytes_per_document": memory}, line


def personal(texts: Sequence[str]) -> tuple[dict[str, Any], str]:
    """How many planted personal data are found, and how many innocent numbers are changed."""
    rng = random.Random(0)
    found = spoiled = 0
    for text in texts:
        words = text.split(" ")
        secret, plain = rng.choice(PERSONAL), rng.choice(INNOCENT)
        words[rng.randrange(len(words))] += f" ({secret}), see {plain}, "
        left, _ = remove_personal(" ".join(words), Privacy())
        found += secret not in left
        spoiled += plain not in left
    line = f"personal data: {found} of {len(texts)} found, {spoiled} other numbers changed"
    return {"personal_recall": found / len(texts), "innocent_changed": spoiled}, line


def run(options: Options) -> Table:
    """Measure all of it."""
    folder = options.data
    if not (folder / "gsm8k").is_dir():
        raise ConfigError(f"--data {folder} has no gsm8k; give the directory that holds it")
    print_header("datatrove", *(["spacy"] if options.words == "spacy" else []))
    rng = random.Random(0)
    long, short = articles(folder), problems(folder)
    groups = ["\n".join(short[at : at + 6]) for at in range(0, len(short), 6)]
    pool = [*long, *groups]
    texts = [changed(pool[n % len(pool)], rng) for n in range(options.documents)]
    record: dict[str, Any] = {}
    for part in (
        rules(options, texts),
        near_duplicates(options, short[:PROBLEMS]),
        personal(texts[:500]),
    ):
        record |= part[0]
        print(part[1], flush=True)
    failures = []
    if record["agreement"] < 1:
        failures.append("a rule decides differently from DataTrove")
    if record["recall"] < 0.97 or record["precision"] < 1:
        failures.append("near-duplicates: recall is below .97 or precision below 1")
    if record["personal_recall"] < 1 or record["innocent_changed"]:
        failures.append("personal data: something planted is left, or something else is changed")
    return Table(record, failures=tuple(failures))
