"""What P5 states about items: with facts in the prompt, with false ones, and without."""

import numpy as np
import pytest

from jaxrec.data import load_dataset
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.runs import Options, SampledEvalConfig, SearchConfig
from jaxrec.systems.p5 import P5Config, run as p5
from jaxrec.systems.p5.factual import FALSE, HIDDEN, commonest, facts_table, shares
from jaxrec.testing import tiny_config
from jaxrec.train import TrainConfig

GENRES = ("drama", "comedy", "western", "musical", "horror")
ITEMS, DECEPTIVE = 300, 0.1


def _write(directory):
    """Films whose titles name their genre, but for one in ten, and whose years nothing tells."""
    rng = np.random.default_rng(0)
    rows, films = ["user_id,movie_id,stars,when"], ["movie_id,title,year,genres"]
    for item in range(ITEMS):
        named = int(rng.integers(5))
        real = (named + int(rng.integers(1, 5))) % 5 if rng.random() < DECEPTIVE else named
        year = 1950 + 5 * int(rng.integers(10))
        films.append(f"i{item},{GENRES[named]} {item:03d},{year},{GENRES[real].title()}")
    for user in range(60):
        for when, item in enumerate(rng.permutation(ITEMS)[:12].tolist()):
            rows.append(f"u{user},i{item},{int(rng.integers(1, 6))},{when}")
    rows += [f"u{n % 60},i{n},3,{20 + n}" for n in range(ITEMS)]
    rows = [rows[0], *sorted({tuple(r.split(",")[:2]): r for r in rows[1:]}.values())]
    (directory / "interactions.csv").write_text("\n".join(rows) + "\n")
    (directory / "items.csv").write_text("\n".join(films) + "\n")
    return directory / "interactions.csv"


def _config(path, steps):
    return P5Config(
        max_items=4,
        tasks=("about_facts", "about"),
        rows=(32, 32),
        groups=1,
        text_tokens=600,
        data=tiny_config(path).data,
        ids=IdConfig(scheme="textual", repair="suffix"),
        user_names="numbers",
        model=TransformerConfig(
            width=64, depth=1, encoder_depth=2, num_heads=2, positions="relative",
            activation="relu", gated=False,
        ),
        train=TrainConfig(
            steps=steps, batch_size=64, lr=5e-3, warmup_steps=20, eval_every=max(steps // 4, 1)
        ),
        decode=SearchConfig(beams=10, batch_size=64),
        eval=SampledEvalConfig(baselines=(), resamples=200),
    )  # fmt: skip


@pytest.mark.slow
def test_facts_in_the_prompt_are_read_and_false_ones_are_believed(tmp_path):
    config = _config(_write(tmp_path), steps=400)
    p5.train(config, tmp_path / "run", Options())
    tested = p5.load(config, tmp_path / "run")
    table = facts_table(tested, tested.tasks["about_facts"])
    precision = {name: row["metrics"]["precision"] for name, row in table["rows"].items()}
    assert precision["model"] >= 0.95
    assert precision["model, unseen wording"] >= 0.95
    assert precision[HIDDEN] <= 0.8
    # Titles tell the genre of nine films in ten, which is half of what a text states.
    assert precision[HIDDEN] > 0.3
    assert precision[FALSE] <= 0.65
    checked = table["rows"]["model, false statements left out"]["metrics"]
    assert checked["precision"] == pytest.approx(checked["readable"])
    tests = {row["baseline"]: row for row in table["comparisons"]}
    assert tests[HIDDEN]["interval"][0] > 0 and tests[FALSE]["interval"][0] > 0


def test_the_commonest_facts_are_counted_in_the_training_part(tmp_path):
    config = _config(_write(tmp_path), steps=1)
    parts = p5.open_run(config, load_dataset(config.data), tmp_path / "run", write=False)
    task, data = parts.tasks["about"], parts.data
    held = {int(i) for stage in ("valid", "test") for i in task.source.units(data, stage)}
    fields = data.dataset.interactions.items.fields
    train = [item for item in range(data.dataset.num_items) if item not in held]
    best = []
    for name in ("genres", "year"):
        values = [fields[name][item] for item in train]
        best.append(max(sorted(set(values)), key=values.count).lower())
    assert commonest(data, task) == f"a film of {best[0]} from {best[1]}"
    items = np.array(sorted(held))
    found = shares([f"a film of {best[0]} from {best[1]}"] * len(items), items, data.facts)
    right = [
        (fields["genres"][item].lower() == best[0]) + (fields["year"][item] == best[1])
        for item in items
    ]
    np.testing.assert_allclose(found["precision"], np.array(right) / 2)
