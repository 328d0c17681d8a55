"""MiniOneRec's files: overlapping rows become the histories that they were cut from."""

import csv
import gzip
import json

import pytest

from jaxrec.core import DataError
from jaxrec.data import load, read
from jaxrec.ids import external

HEADER = "user_id,history_item_id,item_id\n"


def rows(user, history, start=1):
    """The rows that the published script cuts from a history: ten items and the next."""
    return "".join(
        f'{user},"{history[max(0, n - 10) : n]}",{history[n]}\n' for n in range(start, len(history))
    )


def test_histories_are_joined_again(write):
    ann, bob = [1, 2, 1, 2, 3, *range(20, 40)], [5, 5, 6]
    write("m/train.csv", HEADER + rows("ann", ann[:12]) + rows("bob", bob[:2]))
    write("m/valid.csv", HEADER + rows("ann", ann[:18], 12))
    items = {n: {"title": f"Title {n}", "tags": "['a', 'b']"} for n in [*range(4, 38), 99]}
    write("m/item.json", json.dumps(items))
    path = write("m/test.csv", HEADER + rows("ann", ann, 18) + rows("bob", bob, 2)).parent
    data = read(path)
    found = [data.items.ids[items].tolist() for items in data.sequences()]
    assert found == [list(map(str, ann)), list(map(str, bob))]
    assert data.notes == ("5 of 25 items have no texts",)  # 1, 2, 3, 38 and 39
    assert data.items.ids[-1] == "99" and data.items.text("title", "tags")[-1] == "Title 99 a b"
    one = read(path / "test.csv")  # the last file alone: the ten items before it are known
    assert one.items.ids[one.history(0)].tolist() == list(map(str, ann[8:]))


def test_a_history_that_is_no_list_is_named(write):
    with pytest.raises(DataError, match=r"row 1: history_item_id 'x' is no list"):
        read(write("test.csv", HEADER + "ann,x,1\n"))


def test_published_files_load_with_their_index(real_data):
    folder = real_data("amazon18-industrial")
    data = load("industrial", from_file=folder)
    codes = external.read(folder / "index.json", data.items.ids.tolist())
    assert len(codes.codes) == data.num_items == 3686
    histories = {
        str(user): data.items.ids[items].tolist()
        for user, items in zip(data.user_ids, data.sequences(), strict=True)
    }
    with gzip.open(folder / "test.csv.gz", "rt") as file:
        for row in list(csv.DictReader(file))[::50]:
            window = [n.strip() for n in row["history_item_id"].strip("[]").split(",")]
            window.append(row["item_id"])
            history, size = histories[row["user_id"]], len(window)
            assert any(history[n : n + size] == window for n in range(len(history) - size + 1))
