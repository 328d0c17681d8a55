"""Dates in any wording are read by a format, which messages guess; pandas is the referee."""

import datetime
import json
import re
from pathlib import Path

import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.data import Columns, DataConfig, load_dataset, read_interactions, read_table
from jaxrec.data.date_formats import guess_formats, parse_dates

MOMENT = datetime.datetime(2024, 8, 19, 17, 5, 40)
FORMATS = [
    "%d.%m.%Y", "%m/%d/%Y %H:%M", "%d/%m/%y %H:%M:%S", "%B %d, %Y %H:%M", "%b %d, %Y %I:%M %p",
    "%d %B %Y", "%d-%b-%Y", "%Y/%m/%d %H:%M:%S", "%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %Y",
]  # fmt: skip


@pytest.mark.parametrize("pattern", FORMATS)
def test_a_format_is_guessed_and_read_as_pandas_reads_it(pattern):
    pandas = pytest.importorskip("pandas", reason="pandas is the referee")
    zone = datetime.timezone(datetime.timedelta(hours=2)) if "%z" in pattern else None
    days = [MOMENT.replace(tzinfo=zone) + datetime.timedelta(days=n) for n in range(0, 400, 37)]
    texts = [day.strftime(pattern) for day in days]
    assert guess_formats(texts[0]) == [pattern]
    theirs = pandas.to_datetime(texts, format=pattern, utc=True).tz_localize(None)
    assert (parse_dates(texts, pattern, "when", "x") == theirs.to_numpy()).all()


def test_formats_of_the_page_read_its_dates():
    page = (Path(__file__).parents[2] / "docs" / "start" / "own_data.md").read_text()
    rows = re.findall(r"^\| `--data.time-format '?(.+?)'?` \| `(.+)` \|$", page, re.MULTILINE)
    assert len(rows) == 3
    for pattern, date in rows:
        (day,) = parse_dates([date], pattern, "when", "x").astype("datetime64[D]").tolist()
        assert day == datetime.date(2023, 12, 31)


def test_a_date_that_may_begin_with_day_or_month_has_two_formats():
    assert guess_formats("01/02/2024") == ["%d/%m/%Y", "%m/%d/%Y"]
    assert guess_formats("32/01/2024") == guess_formats("Monday") == []


ROWS = 'Who,What,"Bought on"\nann,y,"August 10, 2024 01:33"\nann,x,"August 09, 2024 23:00"\n'
COLUMNS = {"user": "Who", "item": "What", "time": "Bought on"}


def test_a_table_is_read_in_the_order_of_its_dates(tmp_path):
    (tmp_path / "x.csv").write_text(ROWS)
    data = read_table(tmp_path / "x.csv", Columns(**COLUMNS, time_format="%B %d, %Y %H:%M"))
    assert data.items.ids[data.history(0)].tolist() == ["x", "y"]
    seconds = datetime.datetime(2024, 8, 9, 23, tzinfo=datetime.UTC).timestamp()
    assert data.time[0] == seconds and data.time_unit == "s"
    assert data.notes == ("times are dates written as %B %d, %Y %H:%M",)


def test_json_and_parquet_are_read_by_the_same_format(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = [{"user": "u", "item": f"i{n}", "at": f"{9 - n}.1.2024"} for n in range(3)]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    for name in ("x.jsonl", "x.parquet"):
        config = DataConfig(name=str(tmp_path / name), time_column="at", time_format="%d.%m.%Y")
        data = read_interactions(config)
        assert data.items.ids[data.history(0)].tolist() == ["i2", "i1", "i0"]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("10 August 2024", r"row 2.*--data.time-format '%d %B %Y'\)"),
        ("soon", "'soon' in row 2, which is not in the form of --data.time-format"),
        ("", "'' in row 2"),
    ],
)
def test_a_date_in_another_form_is_an_error_that_names_its_row(cell, message, tmp_path):
    (tmp_path / "x.csv").write_text(ROWS.replace("August 09, 2024 23:00", cell))
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "x.csv", Columns(**COLUMNS, time_format="%B %d, %Y %H:%M"))


@pytest.mark.parametrize("pattern", ["%d.%m.", "when", "%H:%M", "%d.%m.%Y %"])
def test_a_format_that_does_not_say_the_day_is_refused_before_any_work(pattern):
    with pytest.raises(ConfigError, match=r"data\.time_format"):
        DataConfig(time_column="at", time_format=pattern)


@pytest.mark.parametrize("time", ["", "file-order"])
def test_a_format_without_a_column_is_refused(time):
    with pytest.raises(ConfigError, match=r"name it with data\.time_column"):
        DataConfig(time_column=time, time_format="%d.%m.%Y")


def test_each_wall_of_an_odd_file_names_the_way_on(tmp_path, capsys):
    """A new user types what the messages say, and gets through."""
    day = datetime.date(2024, 1, 1)
    rows = ["Customer;Product;Bought on;Price"]
    for user in range(6):
        for n in range(6):
            when = (day + datetime.timedelta(days=(5 * n + user) % 31)).strftime("%d/%m/%Y")
            rows.append(f'00{user};"Lamp, {(user + n) % 6}";{when};"5,99 €"')
    rows += [rows[1], "once;'Lamp';30/01/2024;1"]
    (tmp_path / "orders.csv").write_text("\n".join(rows))
    words = ["data", "check", str(tmp_path / "orders.csv")]

    def ask(*options):
        code = main([*words, *options])
        return code, *capsys.readouterr()

    columns = ["--data.user-column", "Customer", "--data.item-column", "Product"]
    code, _, error = ask()
    assert code == 3 and " ".join(columns) in error
    code, text, _ = ask(*columns)
    assert code == 0 and "(Bought on, Price), name it with --data.time-column" in text
    columns += ["--data.time-column", "Bought on"]
    code, _, error = ask(*columns)
    assert code == 3 and "--data.time-format %d/%m/%Y" in error
    code, text, _ = ask(*columns, "--data.time-format", "%d/%m/%Y")
    found = json.loads(text.splitlines()[-1])
    assert code == 0 and found["times"] == "dates written as %d/%m/%Y"
    assert found["duplicate_rows"] == found["short_users"] == 1
    (following,) = [line for line in text.splitlines() if line.startswith("next: ")]
    assert following.endswith("--data.time-column 'Bought on' --data.time-format %d/%m/%Y")
    dataset = load_dataset(
        DataConfig(
            name=str(tmp_path / "orders.csv"),
            user_column="Customer",
            item_column="Product",
            time_column="Bought on",
            time_format="%d/%m/%Y",
        )
    )
    assert np.isin(["Lamp, 3"], dataset.interactions.items.ids).all()
