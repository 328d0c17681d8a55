"""Times in every unit, against the standard library's calendar and a sort of exact fractions."""

import datetime
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import DataError
from jaxrec.data import Columns, Interactions, describe, read, to_times

SCALES = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
MOMENT = datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC)


@pytest.mark.parametrize("unit", SCALES)
def test_the_size_of_numbers_tells_their_unit(unit):
    raw = [int(MOMENT.timestamp()) * SCALES[unit] + n for n in (0, 1, 5 * SCALES[unit])]
    for values in (raw, np.array(raw, np.int64), list(map(str, raw))):
        times = to_times(values, "time", "x")
        assert times.unit == unit
        assert times.seconds.tolist() == [t // SCALES[unit] for t in raw]


@settings(max_examples=30, deadline=None)
@given(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)), st.booleans())
def test_iso_dates_are_those_of_the_standard_library(moment, zone):
    shift = datetime.timedelta(hours=5, minutes=30) if zone else datetime.timedelta()
    moment = moment.replace(tzinfo=datetime.timezone(shift))
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    exact = Fraction((moment - epoch) // datetime.timedelta(microseconds=1), 10**6)
    times = to_times([moment.isoformat()], "time", "x")
    assert times.seconds.tolist() == [exact.__floor__()]
    assert times.key.tolist() == [exact * 10**9]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["0x10", "5"], "'0x10' in row 0 is neither a number of 64 bits nor an ISO date"),
        ([str(2**64)], "in row 0 is neither"),
        (np.array([2**64 - 1], np.uint64), "beyond 64 bits"),
        ([1e300], "beyond 64 bits"),
        ([1700000000, 1700000000000], "mixes units: 1700000000 in row 0"),
        (["2020-01-01", "1577836800"], "mixes 1 ISO dates with 1 numbers"),
        (["2020-13-01"], "neither a number of 64 bits nor an ISO date"),
        ([np.nan], "not a number of seconds"),
        (np.array(["NaT", "2020-01-01"], "datetime64[s]"), "missing in row 0"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(values, message):
    with pytest.raises(DataError, match=message) as error:
        to_times(values, "time", "x")
    assert "\n" not in str(error.value)


FORMS = {
    "YYYYMMDD": "%Y%m%d",
    "YYYYMMDDhhmm": "%Y%m%d%H%M",
    "YYYYMMDDhhmmss": "%Y%m%d%H%M%S",
}


@pytest.mark.parametrize("form", FORMS)
def test_dates_as_one_number_are_those_of_the_standard_library(form, write):
    moments = [MOMENT, MOMENT.replace(year=1999, month=2, day=28), MOMENT.replace(2024, 2, 29)]
    numbers = [int(moment.strftime(FORMS[form])) for moment in moments]
    expected = [
        datetime.datetime.strptime(str(n), FORMS[form]).replace(tzinfo=datetime.UTC).timestamp()
        for n in numbers
    ]
    for values in (numbers, np.array(numbers, np.float64), list(map(str, numbers))):
        times = to_times(values, "time", "x")
        assert times.seconds.tolist() == expected
        assert times.unit == f"dates written as {form}"
    path = write("x.csv", "user,item,day\n" + "".join(f"u,{n},{n}\n" for n in numbers))
    data = read(path, columns=Columns(time="day"))
    assert data.notes == (f"times are dates written as {form}",)
    # One number that is no date, and all of them are times since 1970.
    wrong = numbers[-1] - (20240229 - 20230229) * (numbers[-1] // 20240229)
    assert to_times([*numbers, wrong], "time", "x").unit in ("seconds", "milliseconds")


SINCE = 1_700_000_000
ODD = {
    "years": ([2019, 2020, 2021], "numbers such as 2019 .* they may be years; write dates"),
    "spreadsheet": ([45292.5, 45293], "such as 45292 .* the day numbers of a spreadsheet"),
    "ordinal": ([2024031, 2024032], "dates written as YYYYDDD"),
    "ranks": ([1, 2, 3], "read as seconds since 1970; .*numbers that only tell the order are"),
    "future": ([SINCE, 2 * SINCE], "from 2023-11-14 to 2077-09-.*; the numbers are read as sec"),
    "zero": ([0, *range(SINCE, SINCE + 9000, 100)], r"1 of 91 times .* such as 0 \(1970-01-01\)"),
    "minus": ([-1000, *range(SINCE * 1000, SINCE * 1000 + 900000, 9000)], r"such as -1 \(1969-"),
    "old": (["1985-01-01", "1985-01-02"], "from 1985-01-01 to 1985-01-02; check that these dates"),
    "minute": ([SINCE + n % 30 for n in range(100)], "100 times lie within 29 seconds of 2023-11"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_times_are_noted(name, write):
    values, said = ODD[name]
    path = write("x.csv", "user,item,ts\n" + "".join(f"u,{i},{t}\n" for i, t in enumerate(values)))
    data = read(path, columns=Columns(time="ts"))
    notes = [note for note in data.notes if not note.startswith("times are ")]
    assert len(notes) == 1 and re.search(said, notes[0]), data.notes


def test_events_within_a_second_keep_their_order(write):
    rows = [("u", "c", 1700000000900), ("u", "a", 1700000000100), ("u", "b", 1700000000500)]
    path = write("x.csv", "user,item,ts\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))
    data = read(path, columns=Columns(time="ts"))
    assert data.items.ids[data.history(0)].tolist() == ["a", "b", "c"]
    assert data.time.tolist() == [1700000000] * 3
    assert data.notes == ("times are milliseconds",)
    assert describe(data)["first_day"] == "2023-11-14"


def test_a_csv_of_dates_and_of_seconds_are_one_data_set(write):
    forms = {
        "iso": ["2020-01-03", "2020-01-01T12:00:00Z", "2020-01-02 00:00:00+00:00"],
        "number": [1578009600, 1577880000, 1577923200],
    }
    both = []
    for form, times in forms.items():
        rows = "".join(f"u,{item},{time}\n" for item, time in enumerate(times))
        path = write(f"{form}.csv", f"user,item,date\n{rows}")
        both.append(read(path, columns=Columns(time="date"), name="x"))
    assert both[0].fingerprint() == both[1].fingerprint()
    assert describe(both[0])["last_day"] == "2020-01-03"


def test_days_of_any_year_are_described():
    data = Interactions.from_columns(user=["u"], item=["a"], time=[10**14])
    # The calendar repeats after 400 years of 146,097 days.
    cycles, days = divmod(10**14 // 86400, 146_097)
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=days)
    assert describe(data)["first_day"] == f"{day.year + 400 * cycles}{day:-%m-%d}"
