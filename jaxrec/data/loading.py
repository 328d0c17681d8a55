"""Load interactions by name or path: where data sets are searched, and how formats are recognized.

A known name is searched for in this order: the path that the caller gives, the directory in the
environment variable JAXREC_DATA, an installed RecBole (which ships MovieLens-100K), the cache of
earlier downloads, and the official download. Other names are those that `jaxrec data add` gave, and
then paths.
"""

import contextlib
import dataclasses
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxrec.core import ConfigError, DataError, JaxrecError, nearest
from jaxrec.data import added, download, files
from jaxrec.data.amazon import find_amazon, read_amazon
from jaxrec.data.columns import check_spellings
from jaxrec.data.doubts import doubts
from jaxrec.data.interactions import Interactions
from jaxrec.data.layout import ENDINGS, Format, Layout, delimiter_of, find_layout
from jaxrec.data.minionerec import find_minionerec, read_minionerec
from jaxrec.data.movies import read_double_colon, read_movielens_100k, read_movielens_csv
from jaxrec.data.recbole import read_recbole
from jaxrec.data.sequences import read_sequences
from jaxrec.data.tables import Columns, read_item_table, read_table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """A data set that can be loaded by name.

    Attributes:
        about: description in one line.
        folders: folders below JAXREC_DATA that may hold it, in order of preference.
        homepage: web page with the data and their licence.
        recbole: its folder inside RecBole's `dataset_example`; "" if RecBole does not ship it.
        urls: mirrors of the official archive; empty if no checksum is published for it.
        sha256: checksum of the archive.
        archive_folder: top folder inside the archive.
    """

    about: str
    folders: tuple[str, ...]
    homepage: str
    recbole: str = ""
    urls: tuple[str, ...] = ()
    sha256: str = ""
    archive_folder: str = ""


def _grouplens(name: str, sha256: str) -> dict[str, object]:
    # Checksums: tensorflow/datasets, tensorflow_datasets/url_checksums/movielens.txt.
    base = "files.grouplens.org/datasets/movielens"
    return {
        "homepage": "https://grouplens.org/datasets/movielens/",
        "urls": (f"https://{base}/{name}.zip", f"http://{base}/{name}.zip"),
        "sha256": sha256,
        "archive_folder": name,
    }


_TWEETINGS = "https://github.com/sidooms/MovieTweetings"
_AMAZON = "https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html"

DATASETS: dict[str, Known] = {
    "ml-100k": Known(
        about="MovieLens 100K: 100,000 ratings, 943 users, 1,682 movies, 1997-1998",
        folders=("ml-100k",),
        recbole="ml-100k",
        **_grouplens(  # type: ignore[arg-type]
            "ml-100k", "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
        ),
    ),
    "ml-latest-small": Known(
        about="MovieLens latest-small: about 100,000 ratings; GroupLens updates it now and then",
        folders=("ml-latest-small",),
        **_grouplens(  # type: ignore[arg-type]
            "ml-latest-small", "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436"
        ),
    ),
    "ml-1m": Known(
        about="MovieLens 1M: 1,000,209 ratings, 6,040 users, 3,706 movies, 2000-2003",
        folders=("ml-1m",),
        **_grouplens(  # type: ignore[arg-type]
            "ml-1m", "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"
        ),
    ),
    "movietweetings-10k": Known(
        about="MovieTweetings: the first 10,000 ratings tweeted from IMDb, 2013",
        folders=("movietweetings-10k", "movietweetings/10K"),
        homepage=_TWEETINGS,
    ),
    "movietweetings-100k": Known(
        about="MovieTweetings: the first 100,000 ratings tweeted from IMDb, 2013",
        folders=("movietweetings-100k", "movietweetings/100K"),
        homepage=_TWEETINGS,
    ),
    "amazon-beauty": Known(
        about="Amazon reviews 2014, Beauty 5-core as sequences (P5, TIGER, S3-Rec)",
        folders=("amazon-beauty",),
        homepage=_AMAZON,
    ),
    "amazon-sports": Known(
        about="Amazon reviews 2014, Sports and Outdoors 5-core as sequences (P5, TIGER, S3-Rec)",
        folders=("amazon-sports",),
        homepage=_AMAZON,
    ),
    "amazon-toys": Known(
        about="Amazon reviews 2014, Toys and Games 5-core as sequences (P5, TIGER, S3-Rec)",
        folders=("amazon-toys",),
        homepage=_AMAZON,
    ),
}


def load(
    name: str = "ml-100k",
    *,
    from_file: str | os.PathLike[str] | None = None,
    columns: Columns | None = None,
    allow_download: bool = True,
) -> Interactions:
    r"""Load a data set by name or path.

    Args:
        name: a key of `DATASETS`, a name given by `jaxrec data add`, or a path that `read` accepts.
        from_file: path to read instead of searching for `name`; the result is still called `name`.
        columns: meaning of the columns of a CSV or Parquet file.
        allow_download: whether to use the network as a last resort.

    Returns:
        The interactions; their `source` says where they came from.

    Raises:
        ConfigError: `name` and `from_file` are two files.
        DataError: the data set is malformed, or it was not found; then the message lists every
            place that was searched.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "clicks.csv"
        >>> _ = path.write_text("user,item\nu,a\nu,b\nv,a\n")
        >>> data = load("clicks", from_file=path)
        >>> data.name, data.num_users, len(data)
        ('clicks', 2, 3)
    """
    if from_file is not None:
        if Path(name).is_file() and not _is_same(Path(name), Path(from_file)):
            raise ConfigError(
                f"two files are given, {name} and --data.from-file {from_file}; give one of them"
            )
        return read(from_file, columns=columns, name=name)
    known = DATASETS.get(name)
    if known is None:
        ours = added.find(name)
        if ours is not None:
            return added.read(name, ours, columns or Columns())
        if Path(name).expanduser().exists():
            return read(name, columns=columns)
        names = [*DATASETS, *added.names()]
        raise DataError(
            f"no data set, file or directory {name!r}{nearest(name, names)}; known data sets: "
            f"{', '.join(names)}"
        )
    searched: list[str] = []
    for origin, find in _places(name, known):
        path = find()
        if isinstance(path, Path):
            data = read(path, columns=columns, name=name)
            return dataclasses.replace(data, source=f"{origin}: {path}")
        searched.append(f"{origin}: {path}")
    if not known.urls:
        searched.append("download: not offered because no checksum is published")
    elif not allow_download:
        searched.append("download: not allowed")
    else:
        target = download.cache_dir() / name
        try:
            download.fetch_archive(known.urls, known.sha256, known.archive_folder, target)
        except DataError as error:
            searched.append(str(error))
        else:
            data = read(target, columns=columns, name=name)
            return dataclasses.replace(data, source=f"download: {known.urls[0]}")
    root = os.environ.get("JAXREC_DATA")
    there = Path(root or "DIR").expanduser() / known.folders[0]
    raise DataError(
        f"data set {name!r} was not found; searched {'; '.join(searched)}. Get it from "
        f"{known.homepage} and put its files into {there}{'' if root else ' (JAXREC_DATA=DIR)'}, "
        "or give their directory with --from-file"
    )


def _is_same(one: Path, other: Path) -> bool:
    other = other.expanduser()
    return other.exists() and one.samefile(other)


def _places(name: str, known: Known) -> list[tuple[str, Callable[[], Path | str]]]:
    """Return pairs (origin, find); `find` returns the path, or a text that says what is missing."""

    def environment() -> Path | str:
        root = os.environ.get("JAXREC_DATA")
        if not root:
            return "not set"
        for folder in known.folders:
            path = Path(root).expanduser() / folder
            if path.exists():
                return path
        return f"no {' or '.join(known.folders)} in {root}"

    def recbole() -> Path | str:
        # find_spec locates the package without importing it: RecBole would import PyTorch.
        spec = importlib.util.find_spec("recbole")
        for root in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(root) / "dataset_example" / known.recbole
            if path.is_dir():
                return path
            return f"no {path}"
        return "not installed (pip install --no-deps recbole==1.2.1)"

    def cache() -> Path | str:
        path = download.cache_dir() / name
        return path if path.is_dir() else f"no {path}"

    places: list[tuple[str, Callable[[], Path | str]]] = [("JAXREC_DATA", environment)]
    if known.recbole:
        places.append(("recbole", recbole))
    if known.urls:
        places.append(("cache", cache))
    return places


def read(
    path: str | os.PathLike[str], *, columns: Columns | None = None, name: str | None = None
) -> Interactions:
    r"""Read a file, directory or zip archive, whose format follows from its contents and its name.

    A directory may hold `u.data` (MovieLens 100K), `ratings.csv` (later MovieLens), `ratings.dat`
    or `sequences.txt` with `movies.dat` (MovieLens 1M, MovieTweetings), `sequential_data.txt` with
    `items.jsonl`, one `.inter` file (RecBole), the files of MiniOneRec, or a review file with
    `meta*` (Amazon). A file may be one of those, a table (text with any delimiter, Parquet, JSON
    lines) or a `.txt` file of sequences. Every file may also end in .gz.

    Args:
        path: the file, directory or archive.
        columns: meaning of the columns of a table, and the item table.
        name: name of the data set; None takes it from the path.

    Raises:
        ConfigError: columns are named for a format that fixes them.
        DataError: the path is missing, its format is unknown, or a file is malformed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "histories.txt"
        >>> _ = path.write_text("u1 a b c\nu2 b a\n")
        >>> read(path).sequences()[0].tolist()
        [0, 1, 2]
    """
    path, columns = Path(path).expanduser(), columns or Columns()
    try:
        exists = path.exists()
    except OSError as error:  # a path too long, or a directory that may not be read
        raise DataError(f"{path}: {error.strerror or error}; check the path") from error
    if not exists:
        raise DataError(f"{path}: no such file or directory; check the path")
    layout = layout_of(path, columns)
    data = _read_as(layout, path, columns, name)
    if columns.item_table and not layout.is_table:
        data = data.with_item_texts(read_item_table(columns))
    check_spellings(data.user_ids.tolist(), "user", data.name)
    check_spellings(data.items.ids.tolist(), "item", data.name)
    return dataclasses.replace(data, notes=(*data.notes, *doubts(data)))


def layout_of(path: Path, columns: Columns) -> Layout:
    """Return how `read` reads a path: named columns turn a known table into the user's own.

    Raises:
        DataError: the path is no regular file or directory, or nothing says what it is.
    """
    layout = find_layout(
        path, delimiter=delimiter_of(columns.delimiter), wanted=(columns.user, columns.item)
    )
    if layout.format in ("amazon", "movielens-csv", "minionerec") and columns.given():
        form: Format = "json" if layout.format == "amazon" else "table"
        return dataclasses.replace(layout, format=form)
    return layout


def _read_as(layout: Layout, path: Path, columns: Columns, name: str | None) -> Interactions:
    """Read a file or directory of a known format."""
    if layout.is_table:
        return read_table(path, columns, name)
    if layout.format == "recbole":
        return read_recbole(path, name, columns)
    if layout.format == "directory":
        return _read_directory(path, name or path.resolve().name, columns)
    if layout.format == "zip":
        with download.unpacked(path) as folder, _naming_members(path, folder):
            if (folder / "workbook.xml").is_file() or (folder / "xl" / "workbook.xml").is_file():
                raise DataError(f"{path}: the file is a spreadsheet (.xlsx); save it as CSV")
            data = _read_directory(folder, name or path.stem, columns)
        return dataclasses.replace(data, source=str(path))
    columns.only_for_tables(path, layout)
    if layout.format == "amazon":
        return read_amazon(path, name=name)
    if layout.format == "sequences":
        return _read_sequences(path, name or path.name.split(".")[0])
    if layout.format == "minionerec":
        return read_minionerec([path], path.parent, name or path.name.split(".")[0])
    if path.name.removesuffix(".gz") not in ("u.data", "ratings.csv", "ratings.dat"):
        raise DataError(
            f"{path}: this looks like the ratings of MovieLens; call the file ratings.dat, or add "
            "a header line and name the columns"
        )
    name = name or path.resolve().parent.name
    if layout.format == "movielens-100k":
        return read_movielens_100k(path.parent, name)
    if layout.format == "movielens-csv":
        return read_movielens_csv(path.parent, name)
    return read_double_colon(path.parent, name)


def _read_directory(path: Path, name: str, columns: Columns) -> Interactions:
    ratings = None if files.find(path, "u.data") else files.find(path, "ratings.csv")
    if ratings and layout_of(ratings, columns).is_table:
        return read(ratings, columns=columns, name=name)  # not those of MovieLens
    reader = _reader_of(path, name)
    if reader is not None:
        columns.only_for_tables(path, Layout(format="directory"))
        return reader()
    if any(path.glob("*.inter")) or any(path.glob("*.inter.gz")):
        return read_recbole(path, name, columns)
    inside = sorted(p for p in path.iterdir() if not p.name.startswith((".", "__")))
    endings = {Path(p.name.removesuffix(".gz")).suffix.lower() for p in inside}
    # An archive in an archive is not opened: it could hold itself.
    is_one = len(inside) == 1 and inside[0].is_file() and endings <= set(ENDINGS)
    if is_one and find_layout(inside[0]).format != "zip":
        return read(inside[0], columns=columns, name=name)
    if any(path.glob("*.json*")):
        columns.only_for_tables(path, Layout(format="directory"))
        reviews, metadata = find_amazon(path)
        return read_amazon(reviews, metadata, name)
    raise DataError(
        f"{path}: this directory has no known data set (it holds "
        f"{files.listed(p.name for p in inside[:8])}); expected u.data, ratings.csv, ratings.dat, "
        "sequences.txt, sequential_data.txt, *.inter or *.json(l); give the path of a table itself"
    )


def _reader_of(path: Path, name: str) -> Callable[[], Interactions] | None:
    """Return how a directory with files of a known name is read, or None."""
    if files.find(path, "u.data"):
        return lambda: read_movielens_100k(path, name)
    if files.find(path, "ratings.csv"):
        return lambda: read_movielens_csv(path, name)
    if files.find(path, "ratings.dat", "sequences.txt"):
        return lambda: read_double_colon(path, name)
    if sequences := files.find(path, "sequential_data.txt"):
        return lambda: _read_sequences(sequences, name)
    if parts := find_minionerec(path):
        return lambda: read_minionerec(parts, path, name)
    return None


def _read_sequences(path: Path, name: str) -> Interactions:
    """Read sequences with the item texts beside them."""
    items = files.find(path.parent, "items.jsonl", "items.json")
    try:
        return read_sequences(path, items, name)
    except DataError as error:
        if items is None or "item table" not in str(error):
            raise
        raise DataError(
            f"{error} (the item table is {items}, which lies beside the sequences; move it if it "
            "belongs to other data)"
        ) from error


@contextlib.contextmanager
def _naming_members(archive: Path, folder: Path) -> Iterator[None]:
    """Let errors name the members of an archive, and not the temporary folder with its files."""
    try:
        yield
    except JaxrecError as error:
        message = str(error).replace(f"{folder}{os.sep}", f"{archive}, member ")
        raise type(error)(message.replace(str(folder), str(archive))) from error
