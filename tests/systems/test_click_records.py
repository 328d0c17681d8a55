import numpy as np
import pytest

from jaxrec.core import DataError
from jaxrec.data.instructions import Instruction, read_instructions
from jaxrec.systems.click_records import clicks_of, number_titles


def record(liked, disliked, target, answer):
    def quoted(titles):
        return ", ".join(f'"{title}"' for title in titles)

    text = (
        f"User Preference: {quoted(liked)}\nUser Unpreference: {quoted(disliked)}\n"
        f'Whether the user will like the target movie "{target}"?'
    )
    return Instruction("Say.", text, answer)


RECORDS = [
    record(["B", "C"], ["A"], "D", "Yes."),
    record([], ["D", "A"], "B", "No."),
]


def test_records_become_histories_with_their_likes():
    numbers = number_titles(RECORDS)
    assert numbers == {"A": 0, "B": 1, "C": 2, "D": 3}
    clicks = clicks_of(RECORDS, numbers, length=4)
    np.testing.assert_array_equal(clicks.history, [[-1, 0, 1, 2], [-1, -1, 3, 0]])
    np.testing.assert_array_equal(clicks.feedback, [[0, 1, 2, 2], [0, 0, 1, 1]])
    np.testing.assert_array_equal(clicks.target, [3, 1])
    np.testing.assert_array_equal(clicks.label, [True, False])


def test_a_title_without_a_number_is_named():
    with pytest.raises(DataError, match="1 titles have no number, such as 'D'"):
        clicks_of(RECORDS, {"A": 0, "B": 1, "C": 2})


def test_the_published_movie_split_has_ten_items_a_history_and_its_shares_of_likes(real_data):
    path = real_data("tallrec-movie")
    train = read_instructions(path / "train.json.gz")
    valid = read_instructions(path / "valid.json.gz")
    numbers = number_titles(train, valid)
    for records, count, share in ((train, 8000, 0.557), (valid, 1000, 0.658)):
        clicks = clicks_of(records, numbers)
        assert len(clicks) == count
        assert clicks.label.mean() == pytest.approx(share, abs=6e-4)
        assert ((clicks.history >= 0).sum(1) == 10).all()
        assert ((clicks.feedback > 0) == (clicks.history >= 0)).all()
