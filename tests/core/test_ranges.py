"""Ranges of numbers: every numeric setting of every system has one, and every config checks it."""

import dataclasses
import itertools
import math
import typing

import numpy as np
import pytest

from jaxrec.core import (
    ConfigError,
    Count,
    LearningRate,
    NotNegative,
    Positive,
    Rate,
    Seed,
    check_ranges,
    check_types,
    field_ranges,
)
from jaxrec.data.corpora import CorpusConfig
from jaxrec.runs import system_names
from jaxrec.runs.system import config_class


def configs(kind):
    """The config class, and all classes inside it."""
    inner = [
        hint for hint in typing.get_type_hints(kind).values() if dataclasses.is_dataclass(hint)
    ]
    return {kind}.union(*map(configs, inner))


CONFIGS = sorted(
    configs(CorpusConfig).union(
        *(configs(config_class(f"jaxrec.systems.{name}")) for name in system_names())
    ),
    key=lambda kind: kind.__name__,
)
BAD = (math.nan, math.inf, -math.inf, -1, 2**64, 10**400)


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
def test_every_number_of_every_config_has_a_range_that_construction_checks(kind):
    for name, ranges in field_ranges(kind).items():
        assert ranges, f"{kind.__name__}.{name} has no range: declare it as Count, Rate, ..."
        many = isinstance(getattr(kind(), name), tuple)
        for bad in BAD:
            # Some numbers may be negative or large; the oracle is the arithmetic of the range.
            finite = bad == bad and abs(bad) < 10**308
            inside = finite and any(one.low <= bad <= one.high for one in ranges)
            if not inside:
                option = name.replace("_", "-")
                with pytest.raises(ConfigError, match=rf"--\S*\b{option} must be .*, got .*{bad}"):
                    dataclasses.replace(kind(), **{name: (bad,) if many else bad})


def test_a_number_without_a_range_is_found():
    @dataclasses.dataclass(frozen=True)
    class Forgetful:
        width: int | None = None
        sizes: tuple[float, ...] = ()
        steps: Count = 1
        title: typing.Literal[1, "a"] = 1
        mixed: Count | float = 1

    found = field_ranges(Forgetful)
    assert {name for name, ranges in found.items() if not ranges} == {"width", "sizes", "mixed"}
    assert "title" not in found


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Count, (1, 2**31 - 1, np.int64(3)), (0, -1, 2**31, 2.5, 2.0, True, np.float64(2))),
        (Seed, (0, 2**32 - 1), (-1, 2**32, 2**64)),
        (Rate, (0, 0.0, 0.999), (1, 1.0, -1e-9, math.nan, math.inf)),
        # Beyond float32: infinite, or 0 where that is excluded.
        (LearningRate, (1e-30, 1000), (0, 1000.1, 1e300, 1e-300)),
        (NotNegative, (0, 1e-300, 3.4e38), (-1e-30, 3.5e38)),
        (Positive, (1.2e-38, 3.4e38), (1e-39, 3.5e38)),
    ],
)
def test_the_ends_of_a_range(kind, good, bad):
    value = dataclasses.make_dataclass("Value", [("x", kind)], frozen=True)
    for number in good:
        check_ranges(value(number), "--")
    for number in bad:
        with pytest.raises(ConfigError, match=r"^--x must be "):
            check_ranges(value(number), "--")


def test_seeds_of_the_range_give_different_keys_and_the_next_one_does_not():
    import jax

    def key(seed):
        return jax.random.key_data(jax.random.key(seed)).tolist()

    seeds = (0, 1, 2**31, 2**32 - 1)
    assert all(key(a) != key(b) for a, b in itertools.combinations(seeds, 2))
    assert key(2**32) == key(0)


def test_a_config_that_checks_nothing_itself_is_checked_with_its_full_name():
    @dataclasses.dataclass(frozen=True)
    class Inner:
        batch_size: Count = 1

    @dataclasses.dataclass(frozen=True)
    class Outer:
        inner: Inner = Inner()

    with pytest.raises(ConfigError, match=r"^--inner\.batch-size must be at least 1, got 0$"):
        check_types(Outer(Inner(0)))
    with pytest.raises(ConfigError, match=r"^--inner\.batch-size must be int, got 'x'$"):
        check_types(Outer(Inner("x")))


def test_a_positional_word_after_an_option_is_not_its_value():
    from jaxrec.cli.arguments import parse
    from jaxrec.cli.recommend import Arguments

    given = parse(Arguments, ["--user", "u", "--top", "5", "0"], prog="x")
    assert (given.top, str(given.run)) == (5, "0")
    with pytest.raises(ConfigError, match=r"^--top must be at least 1, got 0$"):
        parse(Arguments, ["0", "--user", "u", "--top=0"], prog="x")


@pytest.mark.parametrize("part", [None, 3, "beam", Count])
def test_a_part_of_another_class_is_named_before_its_settings_are_read(part):
    @dataclasses.dataclass(frozen=True)
    class Search:
        beams: Count = 5

    kind = dataclasses.make_dataclass("Run", [("decode", Search, Search())], frozen=True)
    check_ranges(kind(), "--")
    with pytest.raises(ConfigError, match=r"^--decode must be Search, got "):
        check_ranges(kind(part), "--")
