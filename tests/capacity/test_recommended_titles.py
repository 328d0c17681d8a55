"""Lists of titles as models write them, and the share that does not exist."""

import csv

import pytest

from jaxrec.capacity import Source, StudyOptions, read_titles, run_task, title_task
from jaxrec.core import DataError
from jaxrec.prompting import Reply, ScriptedModel

FILMS = [
    "Alien (1979)",
    "Matrix, The (1999)",
    "12 Angry Men (1957)",
    "2001: A Space Odyssey (1968)",
]
TASK = title_task("films", "Films.", Source(make=lambda: [{"prompt": "Films:"}] * 3), FILMS)


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("1. Alien", "Alien"),
        ("2) Alien (1979)", "Alien (1979)"),
        ("- *Alien*", "Alien"),
        ("**Alien**", "Alien"),
        ("• “Alien”", "“Alien”"),
        ('"Alien"', "Alien"),
        ("12 Angry Men", "12 Angry Men"),
        ("3. 12 Angry Men", "12 Angry Men"),
        ("2001: A Space Odyssey", "2001: A Space Odyssey"),
    ],
)
def test_a_title_is_read_without_its_mark(line, title):
    assert [t.strip("“”") for t in read_titles(f"\n{line}\n\n")] == [title.strip("“”")]


def figures(text):
    found = run_task(ScriptedModel(lambda p, _: text), TASK, None, StudyOptions(resamples=10))
    return {name: estimate.value for name, estimate in found.estimates.items()}


def test_titles_of_the_catalogue_are_none_made_up():
    numbered = "\n".join(f"{n}. {film}" for n, film in enumerate(FILMS, 1))
    assert figures(numbered) == {"invented": 0.0, "titles": 4.0, "repeated": 0.0}


def test_made_up_and_repeated_titles_are_counted():
    found = figures("1. Alien 9\n2. The Matrix\n3. The Matrix\n4. Gone Sailing")
    assert found == {"invented": 0.5, "titles": 4.0, "repeated": 0.25}


def test_a_title_that_is_cut_does_not_count():
    values = TASK.measure({}, Reply(texts=("1. Alien\n2. The Mat",), truncated=(True,)))
    assert values["invented"] == (0, 1)


def test_all_titles_of_movielens_exist_and_others_do_not(real_data):
    path = real_data("ml-latest-small")
    (found,) = [p for p in path.iterdir() if p.name.startswith("movies")]
    with found.open(newline="", encoding="utf-8") as file:
        titles = [row["title"] for row in csv.DictReader(file)][:2000]
    task = title_task("films", "x", Source(make=list), titles)
    text = "\n".join(f"- {title}" for title in titles)
    assert task.measure({}, Reply(texts=(text,)))["invented"] == (0, len(titles))
    other = "\n".join(f"- {title[::-1]}" for title in titles)
    assert task.measure({}, Reply(texts=(other,)))["invented"][0] > 0.99 * len(titles)


def test_an_empty_catalogue_is_rejected():
    with pytest.raises(DataError, match="empty"):
        title_task("films", "x", Source(make=list), [])
