"""MovieLens (100K, latest-small, 1M) and MovieTweetings, in the formats of their authors.

"Toy Story (1995)" becomes title "Toy Story" and year "1995", so that every copy of a data set has
the same fields (RecBole's copy has them apart). `ItemTable.labels` joins them again. Genres are
joined by " | ".
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import files
from jaxrec.data.interactions import SEPARATOR, Interactions
from jaxrec.data.sequences import read_sequence_columns
from jaxrec.data.tables import unique_rows
from jaxrec.data.times import to_times

# "(1995)" or a span "(1975-1979)" or "(2007-)", optionally followed by "(V)" for a video film.
_YEAR = re.compile(r"^(.*?)\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*(?:\((?:V|TV|VG)\))?\s*$", re.DOTALL)

# Flags of u.item in the order of its README, which is also that of u.genre.
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
_AGES_1M = {
    "1": "under 18", "18": "18-24", "25": "25-34", "35": "35-44", "45": "45-49", "50": "50-55",
    "56": "56+",
}  # fmt: skip
_JOBS_1M = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student",
    "customer service", "doctor/health care", "executive/managerial", "farmer", "homemaker",
    "K-12 student", "lawyer", "programmer", "retired", "sales/marketing", "scientist",
    "self-employed", "technician/engineer", "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip


def split_title(title: str) -> tuple[str, str]:
    """Split "Toy Story (1995)" into ("Toy Story", "1995"); the year is "" if there is none."""
    match = _YEAR.match(title)
    return (match[1], match[2]) if match and match[1] else (title.strip(), "")


def read_movielens_100k(directory: Path, name: str = "ml-100k") -> Interactions:
    r"""Read `u.data`, and `u.item` and `u.user` if they exist.

    Item fields are title, year and genres; user fields are age, gender, occupation and zip_code.

    Raises:
        DataError: `u.data` is missing, or a file is malformed; the message names file and line.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "u.data").write_text("196\t242\t3\t881250949\n")
        >>> read_movielens_100k(folder).user_ids.tolist()
        ['196']
    """
    ratings = files.read_delimited(
        _need(directory, "u.data"),
        delimiter="\t",
        names=("user", "item", "rating", "timestamp"),
        columns={"user": "id", "item": "id", "rating": "float", "timestamp": "moment"},
    )
    items = None
    if path := files.find(directory, "u.item"):
        flags = [f"genre {genre}" for genre in _GENRES]
        table = files.read_delimited(
            path,
            delimiter="|",
            names=("id", "title", "release", "video", "url", *flags),
            columns={"id": "id", "title": "text"} | dict.fromkeys(flags, "text"),  # type: ignore[arg-type]
            latin=True,
        )
        on = np.stack([table[flag] == "1" for flag in flags], axis=1)  # [I, 19]
        genres = [[g for g, yes in zip(_GENRES, row, strict=True) if yes] for row in on.tolist()]
        items = _movies(path, table["id"], table["title"], genres)
    users = None
    if path := files.find(directory, "u.user"):
        table = files.read_delimited(
            path,
            delimiter="|",
            names=("id", "age", "gender", "occupation", "zip_code"),
            columns={
                "id": "id",
                "age": "text",
                "gender": "text",
                "occupation": "text",
                "zip_code": "text",
            },
            latin=True,
        )
        users = _rows(path, table, "age", "gender", "occupation", "zip_code")
    return _build(ratings, items, users, name, directory)


def read_movielens_csv(directory: Path, name: str = "ml-latest-small") -> Interactions:
    r"""Read `ratings.csv`, and `movies.csv` if it exists (latest-small, latest, 20M, 25M, 32M).

    Item fields are title, year and genres.

    Raises:
        DataError: `ratings.csv` is missing, or a file is malformed; the message names file and
            line.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> text = "userId,movieId,rating,timestamp\n1,50,4.0,964982703\n"
        >>> _ = (folder / "ratings.csv").write_text(text)
        >>> read_movielens_csv(folder).rating.tolist()
        [4.0]
    """
    ratings = files.read_delimited(
        _need(directory, "ratings.csv"),
        delimiter=",",
        columns={"userId": "id", "movieId": "id", "rating": "float", "timestamp": "moment"},
        quoted=True,
    )
    ratings = {"user": ratings["userId"], "item": ratings["movieId"]} | ratings
    items = None
    if path := files.find(directory, "movies.csv"):
        table = files.read_delimited(
            path,
            delimiter=",",
            columns={"movieId": "id", "title": "text", "genres": "text"},
            quoted=True,
        )
        items = _movies(path, table["movieId"], table["title"], _genres(table["genres"]))
    return _build(ratings, items, None, name, directory)


def read_double_colon(directory: Path, name: str = "ml-1m") -> Interactions:
    r"""Read "::"-separated `ratings.dat` and `movies.dat`: MovieLens 1M and 10M, MovieTweetings.

    Without `ratings.dat`, `sequences.txt` (a user and the user's movies, oldest first) is read
    instead. Then there are no ratings, and `time` is the order. Item fields are title, year and
    genres. If MovieLens' `users.dat` exists, user fields are age, gender, occupation and zip_code.

    Raises:
        DataError: there is neither `ratings.dat` nor `sequences.txt`, or a file is malformed; the
            message names file and line.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "ratings.dat").write_text("1::1193::5::978300760\n")
        >>> _ = (folder / "movies.dat").write_text("1193::Cuckoo's Nest (1975)::Drama\n")
        >>> read_double_colon(folder).items.labels()
        ["Cuckoo's Nest (1975)"]
    """
    ratings: dict[str, np.ndarray]
    path = files.find(directory, "ratings.dat")
    if path is None and (sequences := files.find(directory, "sequences.txt")):
        ratings = read_sequence_columns(sequences)
    else:
        ratings = files.read_delimited(
            path or _need(directory, "ratings.dat"),
            delimiter="::",
            names=("user", "item", "rating", "timestamp"),
            columns={"user": "id", "item": "id", "rating": "float", "timestamp": "moment"},
        )
    items = None
    if path := files.find(directory, "movies.dat"):
        table = files.read_delimited(
            path,
            delimiter="::",
            names=("id", "title", "genres"),
            columns={"id": "id", "title": "text", "genres": "text"},
            latin=True,
        )
        items = _movies(path, table["id"], table["title"], _genres(table["genres"]))
    users = None
    path = files.find(directory, "users.dat")
    # MovieTweetings also has a users.dat, but it only maps users to Twitter IDs.
    if path and files.read_bytes(path).split(b"\n", 1)[0].count(b"::") == 4:
        table = files.read_delimited(
            path,
            delimiter="::",
            names=("id", "gender", "age", "occupation", "zip_code"),
            columns={
                "id": "id",
                "age": "text",
                "gender": "text",
                "occupation": "text",
                "zip_code": "text",
            },
        )
        table["age"] = np.array([_AGES_1M.get(age, age) for age in table["age"]], object)
        jobs = dict(zip(map(str, range(len(_JOBS_1M))), _JOBS_1M, strict=True))
        table["occupation"] = np.array([jobs.get(job, job) for job in table["occupation"]], object)
        users = _rows(path, table, "age", "gender", "occupation", "zip_code")
    return _build(ratings, items, users, name, directory)


def _need(directory: Path, name: str) -> Path:
    path = files.find(directory, name)
    if path is None:
        raise DataError(f"{directory / name}: no such file; check the directory")
    return path


def _genres(column: np.ndarray) -> list[list[str]]:
    return [
        [] if text == "(no genres listed)" else [g for g in text.split("|") if g] for text in column
    ]


def _movies(
    path: Path, ids: np.ndarray, titles: np.ndarray, genres: list[list[str]]
) -> dict[str, dict[str, str]]:
    lists = np.array([SEPARATOR.join(names) for names in genres], dtype=object)
    unique_rows(ids.astype(str), {"title": titles, "genres": lists}, path, "movie")
    rows = {}
    for key, title, names in zip(ids.tolist(), titles.tolist(), genres, strict=True):
        bare, year = split_title(title)
        rows[str(key)] = {"title": bare, "year": year, "genres": SEPARATOR.join(names)}
    return rows


def _rows(path: Path, table: dict[str, np.ndarray], *names: str) -> dict[str, dict[str, str]]:
    unique_rows(table["id"].astype(str), table, path, "user")
    columns = [table[name].tolist() for name in names]
    rows = zip(*columns, strict=True)
    return {
        str(key): dict(zip(names, row, strict=True))
        for key, row in zip(table["id"].tolist(), rows, strict=True)
    }


def _build(
    ratings: dict[str, np.ndarray], items: Any, users: Any, name: str, directory: Path
) -> Interactions:
    times = ratings.get("timestamp")
    return Interactions.from_columns(
        ratings["user"],
        ratings["item"],
        time=ratings["order"] if times is None else to_times(times, "timestamp", directory),
        rating=ratings.get("rating"),
        items=items,
        users=users,
        name=name,
        source=str(directory),
        time_unit="s" if "timestamp" in ratings else "order",
    )
