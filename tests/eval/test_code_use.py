"""The figure of code use shows the counts that it is given."""

import io

import numpy as np
from matplotlib.image import imread

from jaxrec.eval.code_use import code_use_png
from jaxrec.ids import code_statistics

BLUE = np.array([0x0B, 0x57, 0xB0]) / 255
GREEN = np.array([0x17, 0x68, 0x3A]) / 255
BROWN = np.array([0x9A, 0x4F, 0x00]) / 255


def blue_share(codes, sizes):
    """Share of blue in the picture's first panel."""
    statistics = code_statistics(codes, sizes)
    found = code_use_png(codes, sizes, statistics, statistics, "a title")
    image = imread(io.BytesIO(found))[..., :3]
    height, width = image.shape[:2]
    panel = image[: height // 3, : width // len(sizes)]
    return (np.abs(panel - BLUE).max(axis=-1) < 0.02).mean()


def test_codes_that_are_used_alike_fill_their_panel_and_others_do_not():
    even, one = np.arange(40) % 8, np.zeros(40, int)
    place = np.arange(40) % 5
    full = blue_share(np.stack([even, place], axis=1), (8, 5))
    narrow = blue_share(np.stack([one, place], axis=1), (8, 5))
    assert full > 0.2
    # One code of eight is as high, and an eighth as wide.
    assert 0.6 / 8 < narrow / full < 1.6 / 8


def test_shorter_ids_before_repair_and_many_levels_are_drawn():
    codes = np.where(np.arange(20)[None] < 1 + np.arange(30)[:, None] % 20, 1, -1)
    codes[:, 0] = np.arange(30)
    sizes = (30, *(2,) * 19)
    before = code_statistics(codes[:, :3] % 7, (30, 2, 2))
    found = code_use_png(codes, sizes, before, code_statistics(codes, sizes), "twenty levels")
    image = imread(io.BytesIO(found))[..., :3]
    assert image.shape[0] > 1000
    # The last panel draws utilization, entropy and collisions.
    last = image[-image.shape[0] // 3 :]
    for color in (BLUE, GREEN, BROWN):
        assert (np.abs(last - color).max(axis=-1) < 0.02).sum() > 100
