"""The readers that `tools/fuzz.py` tries: a name, good files to damage, and the function to call.

A new reader is one entry of `READERS`. Its module is imported by `samples` and `read` only, so the
list itself is quick to load.
"""

import dataclasses
import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fuzz_models import ENTRIES
from fuzz_planning import ENTRIES as PLANNING
from fuzz_recruitment import ENTRIES as RECRUITMENT

Folder = Mapping[str, bytes]  # relative path -> contents


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reader:
    """A function that reads files, and good files for it.

    Attributes:
      name: what `--reader` calls it.
      samples: returns small good inputs. Each is the content of a folder, by relative path; a run
        directory or a model has several files. One of them is damaged at a time.
      read: reads the folder. It must return, or raise an error of jaxrec.
      keep: files of the samples that are never damaged.
    """

    name: str
    samples: Callable[[], Sequence[Folder]]
    read: Callable[[Path], object]
    keep: tuple[str, ...] = ()


ROWS = [
    ("ann", "10", 4.5, 881250949),
    ("ann", "9", 3.0, 881250950),
    ("ann", "2", 1.5, 881250951),
    ("bob", "2", 5.0, 881250900),
    ("bob", "10", 2.0, 881250901),
    ("bob", "31", 2.5, 881250902),
] * 3


def _read_only_file(folder: Path) -> object:
    """Read the data set in the only file of a folder, and convert all of it."""
    from jaxrec.data import describe, read

    (path,) = folder.iterdir()
    return describe(read(path))


def _read_table(folder: Path) -> object:
    """Read the table of a folder with all column roles, and its item table if there is one."""
    from jaxrec.data import Columns, describe, read

    (path,) = (path for path in folder.iterdir() if not path.name.startswith("items"))
    table = next((path for path in folder.iterdir() if path.name.startswith("items")), None)
    columns = Columns(time="time", rating="rating", item_table=table)
    return describe(read(path, columns=columns))


def _read_folder(folder: Path) -> object:
    """Read a data set of several files."""
    from jaxrec.data import describe, read

    return describe(read(folder))


def _delimited(delimiter: str, *, header: bool = True) -> bytes:
    names = [delimiter.join(("user", "item", "rating", "time"))] if header else []
    return "\n".join([*names, *(delimiter.join(map(str, row)) for row in ROWS)]).encode() + b"\n"


def _csv_samples() -> list[Folder]:
    quoted = "user,item,rating,time\n" + "".join(
        f'"{user}","{item}","{rating}",2020-01-0{1 + time % 9}\n'
        for user, item, rating, time in ROWS
    )
    items = b'item,title,genres\n10,Heat,Crime\n9,"A, B",War\n2,Alien,\n31,Big,Comedy\n'
    return [
        {"x.csv": _delimited(",")},
        {"x.tsv": _delimited("\t")},
        {"x.csv": _delimited(";")},
        {"x.csv": quoted.encode(), "items.csv": items},
    ]


def _parquet_samples() -> list[Folder]:
    import pyarrow as pa
    from pyarrow import parquet

    user, item, rating, time = zip(*ROWS, strict=True)
    columns = {"user": user, "item": item, "rating": rating, "time": time}
    dates = pa.array(time, pa.timestamp("s"))
    numbers = {"user": [len(name) for name in user], "item": list(map(int, item))}
    lists = {"item": ["10", "9", "2", "31"], "genres": [["War"], [], None, ["Crime", "Drama"]]}
    tables = [
        (pa.table(columns), "snappy"),
        (pa.table(columns | numbers | {"time": dates}), "gzip"),
        (pa.table(columns), "zstd"),
        (pa.table(columns | numbers), "none"),
    ]
    samples: list[Folder] = []
    for table, compression in tables:
        samples.append({"x.parquet": _parquet(parquet, table, compression)})
    samples.append({**samples[0], "items.parquet": _parquet(parquet, pa.table(lists), "snappy")})
    return samples


def _parquet(parquet: Any, table: Any, compression: str) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression=compression)
    return sink.getvalue()


def _gzip_samples() -> list[Folder]:
    packed = gzip.compress(_delimited(","), mtime=0)
    return [{"x.csv.gz": packed}, {"x.csv.gz": packed + gzip.compress(b"eve,9,1,5\n", mtime=0)}]


def _zip_samples() -> list[Folder]:
    samples: list[Folder] = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w", method) as content:
            content.writestr("ml/u.data", "1\t2\t3\t100\n2\t1\t5\t50\n" * 4)
            content.writestr("ml/README", "words")
        samples.append({"x.zip": sink.getvalue()})
    return samples


def _json_samples() -> list[Folder]:
    reviews = [
        {"user_id": user, "parent_asin": item, "rating": rating, "timestamp": time * 1000}
        for user, item, rating, time in ROWS
    ]
    old = [
        {"reviewerID": user, "asin": item, "overall": rating, "unixReviewTime": time}
        for user, item, rating, time in ROWS
    ]
    plain = [dict(zip(("user", "item", "rating", "when"), row, strict=True)) for row in ROWS]
    return [
        {"x.jsonl": "\n".join(map(json.dumps, rows)).encode()} for rows in (reviews, old, plain)
    ]


def _amazon_samples() -> list[Folder]:
    reviews = _json_samples()[1]["x.jsonl"]
    old = b"{'asin': '10', 'title': 'Tom\\'s Comb', 'categories': [['Hair', 'Care']]}\n"
    new = b'{"asin": "9", "title": "&quot;A&quot;", "description": ["x", "y"], "brand": null}\n'
    return [{"x.json": reviews, "meta.json": old + new}]


def _sequence_samples() -> list[Folder]:
    items = b'{"id": 1, "title": "One"}\n{"id": "2", "title": "Two"}\n'
    return [{"sequential_data.txt": b"1 1 2 3\n2 3 2\n3 1 1 2\n", "items.jsonl": items}]


def _recbole_samples() -> list[Folder]:
    inter = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    inter += "".join("\t".join(map(str, row)) + "\n" for row in ROWS)
    item = "item_id:token\tmovie_title:token_seq\tclass:token_seq\n10\tHeat\tCrime Drama\n"
    user = "user_id:token\tage:float\nann\t30\n"
    return [{"x.inter": inter.encode(), "x.item": item.encode(), "x.user": user.encode()}]


def _movielens_samples() -> list[Folder]:
    ratings = b"userId,movieId,rating,timestamp\n1,31,2.5,20\n1,5,3.0,10\n"
    movies = b'movieId,title,genres\n31,"A, B (1999)",Drama|War\n5,C (2000),(no genres listed)\n'
    flags = "|0" * 18 + "|1"
    item = f"1|Toy Story (1995)|01-Jan-1995||url{flags}\n2|Mis\xe9rables|||{flags}\n"
    dat = b"1::1193::5::978300760\n1::2::3::978300761\n"
    return [
        {"ratings.csv": ratings, "movies.csv": movies},
        {
            "u.data": b"7\t1\t3\t100\n10\t1\t5\t50\n7\t2\t4\t90\n",
            "u.item": item.encode("latin-1"),
            "u.user": b"7|24|M|writer|00123\n",
        },
        {
            "ratings.dat": dat,
            "movies.dat": b"1193::C (1975)::Drama\n",
            "users.dat": b"1::F::1::10::48067\n",
        },
    ]


def _codes_samples() -> list[Folder]:
    pairs = {"1": ["<a_1>", "<b_3>"], "2": ["<a_0>", "<b_2>"]}
    rows = [{"item": "1", "id": "<a_1><b_3>"}, {"item": "2", "id": "<a_0><b_2>"}]
    return [
        {"ids.json": json.dumps(pairs).encode()},
        {"ids.json": json.dumps(rows).encode()},
        {"ids.csv": b"item,0,1\n1,1,3\n2,0,2\n"},
        {"ids.json.gz": gzip.compress(json.dumps(pairs).encode(), mtime=0)},
    ]


def _read_codes(folder: Path) -> object:
    from jaxrec.ids import external

    (path,) = folder.iterdir()
    return external.read(path, ["1", "2"])


def _instruction_samples() -> list[Folder]:
    rows = [
        {"instruction": "Say hi.", "input": "", "output": "Hi."},
        {"instruction": "a", "output": "b"},
    ]
    lines = "\n".join(map(json.dumps, rows)).encode()
    packed = gzip.compress(lines, mtime=0)
    return [{"x.json": json.dumps(rows).encode()}, {"x.jsonl": lines}, {"x.jsonl.gz": packed}]


def _read_instructions(folder: Path) -> object:
    from jaxrec.data import read_instructions

    (path,) = folder.iterdir()
    return read_instructions(path)


def _text_samples() -> list[Folder]:
    lines = b'{"text": "One."}\n{"text": "Two\\n\\nlines."}\n'
    plain = "One.\n\nTwo\nlines.\n\n\u00e9\n".encode()
    return [{"x.txt": plain}, {"x.jsonl": lines}, {"x.jsonl.gz": gzip.compress(lines, mtime=0)}]


def _read_texts(folder: Path) -> object:
    from jaxrec.data.corpora import Source, form_of, read_texts

    (path,) = folder.iterdir()
    form = form_of(path)
    source = Source(
        paths=(str(path),), form="json_lines" if form == "json_lines" else "blank_lines"
    )
    return read_texts(source, "fuzzed")


def _minionerec_samples() -> list[Folder]:
    rows = b'user_id,history_item_id,item_id\nann,"[1, 2]",3\nann,"[1, 2, 3]",4\nbob,[4],1\n'
    items = {str(n): {"title": f"Title {n}", "categories": "['a', 'b']"} for n in range(1, 6)}
    info = b"<a_1><b_2>\tOne\t1\n<a_1><b_3>\tTwo\t2\n"
    return [
        {"test.csv": rows, "item.json": json.dumps(items).encode()},
        {"train.csv": rows, "test.csv": rows, "info.txt": info},
    ]


def _prepared_samples() -> list[Folder]:
    import tempfile

    from jaxrec.data import Interactions, prepare

    user, item, rating, time = zip(*ROWS, strict=True)
    items = {"10": {"title": "Heat"}, "9": {"title": "Nine"}}
    data = Interactions.from_columns(user, item, time, rating, items)
    with tempfile.TemporaryDirectory() as scratch:
        path = prepare(data, scratch)
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        return [{str(file.relative_to(path)): file.read_bytes() for file in inside}]


def _read_prepared(folder: Path) -> object:
    from jaxrec.data import describe, read_prepared

    return describe(read_prepared(folder))


def _vector_samples() -> Sequence[Folder]:
    import numpy as np

    samples: list[Folder] = []
    for array in (np.ones((3, 4), np.float32), np.arange(6.0).reshape(2, 3)):
        sink = io.BytesIO()
        np.save(sink, array)
        samples.append({"ids/text_vectors.npy": sink.getvalue()})
    return samples


def _read_vectors(folder: Path) -> object:
    from jaxrec.items import text

    return text.load_vectors(folder)


def _config_samples() -> Sequence[Folder]:
    header = '"""A config."""\n\nfrom jaxrec.systems.generative import Config\n\n\n'
    body = "def get_config():\n    return Config(user_tokens=7)\n"
    return [{"mine.py": (header + body).encode()}]


def _read_config(folder: Path) -> object:
    from jaxrec.cli import load_config_file

    return load_config_file(folder / "mine.py")


READERS = [
    Reader(name="csv", samples=_csv_samples, read=_read_table),
    Reader(name="parquet", samples=_parquet_samples, read=_read_table),
    Reader(name="gzip", samples=_gzip_samples, read=_read_table),
    Reader(name="zip", samples=_zip_samples, read=_read_only_file),
    Reader(name="json-lines", samples=_json_samples, read=_read_only_file),
    Reader(name="amazon", samples=_amazon_samples, read=_read_folder),
    Reader(name="sequences", samples=_sequence_samples, read=_read_folder),
    Reader(name="recbole", samples=_recbole_samples, read=_read_folder),
    Reader(name="movielens", samples=_movielens_samples, read=_read_folder),
    Reader(name="minionerec", samples=_minionerec_samples, read=_read_folder),
    Reader(name="instructions", samples=_instruction_samples, read=_read_instructions),
    Reader(name="texts", samples=_text_samples, read=_read_texts),
    Reader(name="prepared", samples=_prepared_samples, read=_read_prepared),
    Reader(name="codes", samples=_codes_samples, read=_read_codes),
    Reader(name="vectors", samples=_vector_samples, read=_read_vectors),
    Reader(name="config", samples=_config_samples, read=_read_config),
    *(
        Reader(name=name, samples=samples, read=read)
        for name, samples, read in (*ENTRIES, *PLANNING, *RECRUITMENT)
    ),
]

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_WORDS = (
    b"nan", b"-1", b"1e999", b"1e39", b"0x10", b"9" * 30, b"\0", b'"', b"'", b"\n", b"\r", b",",
    b"\t", b";", b"\xff\xfe", b"\xef\xbb\xbf", b"[", b"{", b"[" * 2000, b"]", b"}", b"null", b"\\",
    b"\\ud800", b"\\u0000", b"::", b"|", b" ", b"9" * 5000, b"-", b"Infinity", b"1_0", b"%s",
)  # fmt: skip


def damaged(content: bytes, other: bytes, random_: random.Random) -> bytes:
    """Return a damaged copy of a file.

    Args:
      content: of the good file.
      other: another good file, from which pieces are spliced in.
      random_: source of all choices, so that a seed gives the same files.

    Example:
      >>> damaged(b"user,item", b"", random.Random(0)) == b"user,item"
      False
    """
    result = bytearray(content)
    for _ in range(random_.choice((1, 1, 1, 2, 3, 8))):
        random_.choice(_DAMAGES)(result, other, random_)
    return bytes(result)


def _flip_bits(content: bytearray, other: bytes, random_: random.Random) -> None:
    for _ in range(random_.choice((1, 1, 2, 8)) if content else 0):
        content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)


def _truncate(content: bytearray, other: bytes, random_: random.Random) -> None:
    del content[random_.randrange(len(content) + 1) :]


def _delete_block(content: bytearray, other: bytes, random_: random.Random) -> None:
    start, length = _block(content, random_)
    del content[start : start + length]


def _repeat_block(content: bytearray, other: bytes, random_: random.Random) -> None:
    start, length = _block(content, random_)
    block = bytes(content[start : start + length])
    content[start:start] = block * random_.choice((1, 2, 50))


def _splice(content: bytearray, other: bytes, random_: random.Random) -> None:
    start, length = _block(content, random_)
    begin, size = _block(other, random_)
    content[start : start + length] = other[begin : begin + size]


def _write_number(content: bytearray, other: bytes, random_: random.Random) -> None:
    """Write a number as a header would hold it, near the start or the end more often."""
    size = random_.choice((1, 2, 4, 8))
    number = random_.choice(_NUMBERS) & ((1 << 8 * size) - 1)
    limit = max(len(content) - size, 0)
    near = min(limit, 64)
    start = random_.choice(
        (random_.randint(0, limit), random_.randint(0, near), limit - random_.randint(0, near))
    )
    content[start : start + size] = number.to_bytes(size, random_.choice(("little", "big")))


def _write_word(content: bytearray, other: bytes, random_: random.Random) -> None:
    start, length = _block(content, random_)
    end = start + random_.choice((0, 1, min(length, 8)))
    content[start:end] = random_.choice(_WORDS)


def _block(content: bytes | bytearray, random_: random.Random) -> tuple[int, int]:
    """Return start and length of a random block, mostly a short one."""
    start = random_.randrange(len(content) + 1)
    longest = random_.choice((4, 16, 256, len(content)))
    return start, random_.randint(0, max(min(longest, len(content) - start), 0))


_DAMAGES = (
    _flip_bits, _flip_bits, _truncate, _delete_block, _repeat_block, _splice, _write_number,
    _write_number, _write_word, _write_word,
)  # fmt: skip
