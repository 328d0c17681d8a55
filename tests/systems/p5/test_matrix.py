"""Every task under every ID scheme, from one checkpoint: losses fall and answers come back.

The matrix has a row for each scheme: all tasks are trained together for a few steps, and each of
them is looked at alone. The quick suite has the seven tasks under one scheme, and the room of all
schemes; `-m slow` has the whole matrix.
"""

import dataclasses
import itertools
import math
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrec.cli.configs import find_config
from jaxrec.cli.loading import load_config_file
from jaxrec.data import encode_examples, load_dataset, ratings
from jaxrec.eval import parse_ratings
from jaxrec.ids import RqVaeConfig
from jaxrec.items import IdConfig, fit_ids
from jaxrec.models import TransformerConfig
from jaxrec.objectives import language_loss
from jaxrec.runs import SampledEvalConfig, SearchConfig
from jaxrec.systems.p5 import TASKS, P5Config, run as p5
from jaxrec.systems.p5.decoding import item_rates
from jaxrec.systems.p5.questions import held_out_questions, options_of
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.texts import CatalogueItem, Choice, FreeText, OneOfCandidates, Rating, plan_parts
from jaxrec.train import TrainConfig, make_state

GRID = {"levels": 2, "size": 8, "dim": 8, "text_encoder": "tfidf"}
TREE = {"clusters": 3, "leaf": 6}
SCHEMES = {
    "independent": (IdConfig(scheme="independent"), "tokens"),
    "semantic": (IdConfig(scheme="semantic"), "tokens"),
    "random": (IdConfig(scheme="random", levels=2, size=8), "tokens"),
    "random as numbers": (IdConfig(scheme="random", levels=2, size=8), "numbers"),
    "title": (IdConfig(scheme="textual", repair="suffix"), "tokens"),
    "sequential": (IdConfig(scheme="sequential", size=6), "tokens"),
    "sequential as numbers": (IdConfig(scheme="sequential", size=10), "numbers"),
    "collaborative": (IdConfig(scheme="collaborative", **TREE), "tokens"),
    "cid+iid": (IdConfig(scheme="hybrid", hybrid="cid+iid", **TREE), "tokens"),
    "semid+iid": (IdConfig(scheme="hybrid", hybrid="semid+iid"), "tokens"),
    "sid+iid": (IdConfig(scheme="hybrid", hybrid="sid+iid", size=6), "tokens"),
    "semid+cid": (IdConfig(scheme="hybrid", hybrid="semid+cid", **TREE), "tokens"),
    "svd": (IdConfig(scheme="svd", levels=2, size=8), "tokens"),
    "pq": (IdConfig(scheme="pq", **GRID), "tokens"),
    "rq": (IdConfig(scheme="rq", **GRID), "tokens"),
    "rqvae": (
        IdConfig(
            scheme="rqvae",
            rqvae=RqVaeConfig(latent=8, hidden=(16,), warmup=5, steps=20, batch_size=16),
            **GRID,
        ),
        "tokens",
    ),
}
STEPS, ROWS = 30, 8
SEVEN = (
    *("rating", "straightforward", "direct_choose", "sequential"),
    *("explanation", "review", "review_title", "conversation"),
)


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    return write_tiny_csv(tmp_path_factory.mktemp("matrix"))


def _config(csv, name, tasks):
    ids, names = SCHEMES[name]
    return P5Config(
        max_items=4,
        tasks=tasks,
        rows=(ROWS,) * len(tasks),
        groups=1,
        candidates=12,
        item_names=names,
        text_tokens=600,
        data=tiny_config(csv).data,
        ids=ids,
        model=TransformerConfig(
            width=32, depth=1, num_heads=2, positions="relative", activation="relu", gated=False,
            word_rows=64,
        ),
        train=TrainConfig(
            steps=STEPS, batch_size=ROWS * len(tasks), lr=1e-2, warmup_steps=3, eval_every=STEPS
        ),
        decode=SearchConfig(beams=10, batch_size=64),
        eval=SampledEvalConfig(baselines=("popularity",), resamples=20),
    )  # fmt: skip


def _trained(config):
    """A run's parts, and its model before and after the training."""
    dataset = load_dataset(config.data)
    parts = p5.open_run(config, dataset, Path("unused"), write=False)
    plan = plan_parts(config, parts)
    state = make_state(plan.init, plan.optimizer, plan.mesh, plan.rules, plan.config)
    before = parts.prompted.with_params(parts.prompted.join(jax.device_get(state.params)))
    (group,) = parts.groups
    for step in range(STEPS):
        examples = itertools.chain.from_iterable(
            parts.mixture.examples(task, step, slice(None)) for task in group.tasks
        )
        batch = encode_examples(
            parts.prompted.tokenizer, list(examples), group.source, group.target
        )
        state, _ = plan.step(state, {"group_0": batch}, None)
    after = parts.prompted.with_params(parts.prompted.join(jax.device_get(state.params)))
    return parts, before, after


def _loss(parts, prompted, number, run):
    """Mean loss of fixed training examples of a task."""
    (group,) = parts.groups
    examples = parts.mixture.examples(number, 0, slice(None)) + parts.mixture.examples(
        number, 1, slice(None)
    )
    batch = encode_examples(prompted.tokenizer, examples, group.source, group.target)
    loss = run(prompted.params, batch)
    return float(loss.total / loss.weight)


def _check_capacity(config, dataset):
    codes = fit_ids(config.ids, dataset)
    assert math.prod(codes.sizes) >= dataset.num_items
    rows = {tuple(row) for row in codes.codes.tolist()}
    assert len(rows) == dataset.num_items
    # No ID is the beginning of another: after END codes all have one length.
    assert (codes.codes >= 0).all()


def _check_round_trip(parts, name, count=30):
    """What training shows as the answer is read back as the datum's own number."""
    task, prompted = parts.tasks[name], parts.prompted
    stream = task.source.training(parts.data)
    rng = np.random.default_rng(0)
    data = [stream.draw(place % stream.size, rng) for place in range(count)]
    targets = [task.wordings["seen"].fill(task.fields(datum, parts.data))[1] for datum in data]
    tokenizer = prompted.tokenizer
    rows = tokenizer(targets)["input_ids"]
    # What the model writes is what `Prompted.write` gives back: the tokens without their end.
    texts = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]
    for datum, target, row, text in zip(data, targets, rows, texts, strict=True):
        if isinstance(task.answer, (CatalogueItem, OneOfCandidates)):
            found = prompted.items.look_up(
                np.array([row]), np.array([len(row)]), tokenizer.eos_token_id
            )
            assert found.tolist() == [datum.item]
        elif isinstance(task.answer, Choice):
            assert task.answer.texts.index(text) == datum.answer
        elif isinstance(task.answer, Rating):
            assert ratings.star_of(text) == datum.star
            assert parse_ratings([text], 0.0).parsed.all()
        elif isinstance(task.answer, FreeText) and task.answer.parse is not None:
            assert ratings.star_of(f"{task.answer.parse([text], 0.0).values[0]:.1f}") == datum.star
        else:
            assert text == target


def _check_answers(config, parts, prompted):
    """No answer of a search over the trie is made up, repeated or seen, whatever the task."""
    for task in parts.tasks.values():
        if not isinstance(task.answer, (CatalogueItem, OneOfCandidates)):
            continue
        units = task.source.units(parts.data, "test")[:8]
        asked = held_out_questions(parts.data, task, "test", units)
        items = task.answer.answer(prompted, asked, options_of(config))
        free = prompted.recommend_freely(asked.prompts, beams=2)
        rates = item_rates(task, asked, items, free, prompted.num_items)
        assert rates["trie"]["compliance"] == 1.0
        assert rates["trie"]["hallucination"] == rates["trie"]["duplicates"] == 0.0
        assert rates["trie"]["repeats"] == 0.0 or isinstance(task.answer, OneOfCandidates)
        written = prompted.items.tokens[items[:, 0]]
        lengths = np.full(len(written), written.shape[1])
        end = prompted.tokenizer.eos_token_id
        np.testing.assert_array_equal(prompted.items.look_up(written, lengths, end), items[:, 0])


def _check_scheme(csv, name, tasks):
    config = _config(csv, name, tasks)
    _check_capacity(config, load_dataset(config.data))
    parts, before, after = _trained(config)
    run = jax.jit(lambda params, batch: language_loss(parts.prompted.model, params, batch, None))
    for number, task in enumerate(parts.tasks):
        first, last = (_loss(parts, prompted, number, run) for prompted in (before, after))
        assert last < 0.8 * first, f"{task} under {name}: {first:.3f} -> {last:.3f}"
        _check_round_trip(parts, task)
    return config, parts, after


def test_the_config_of_the_seven_tasks_trains_them_all_with_a_wording_to_spare():
    config = load_config_file(find_config("p5/seven"))
    assert set(SEVEN) <= set(config.tasks)
    for name in config.tasks:
        assert set(TASKS[name].wordings) == {"seen", "unseen"}


def test_seven_tasks_are_learned_by_one_checkpoint(csv):
    config, parts, after = _check_scheme(csv, "semantic", SEVEN)
    sequential = dataclasses.replace(parts, tasks={"sequential": parts.tasks["sequential"]})
    _check_answers(config, sequential, after)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMES)
def test_every_task_is_learned_under_every_scheme(csv, name):
    config, parts, after = _check_scheme(csv, name, tuple(TASKS))
    _check_answers(config, parts, after)


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_has_room_for_all_items_and_an_id_for_each(csv, name):
    config = _config(csv, name, ("sequential",))
    _check_capacity(config, load_dataset(config.data))
