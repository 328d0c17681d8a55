"""Systems whose models read prompts open from the run alone too."""

import dataclasses

import numpy as np
import pytest

import jaxrec
from jaxrec.cli.serving import open_items
from jaxrec.core import ConfigError
from jaxrec.data import load_dataset
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.runs import RecommendRequest, SearchConfig, offered
from jaxrec.serve import RecommendEngine, RequestError, ServedCatalogue
from jaxrec.systems.instructrec import InstructRecConfig, run as instructrec
from jaxrec.systems.instructrec.tested import SEQUENTIAL
from jaxrec.systems.p5 import run as p5
from jaxrec.systems.p5.config import P5Config
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.train import TrainConfig

from .items import check_engine
from .runs import save_random, without_data

MODEL = TransformerConfig(
    width=16, depth=1, num_heads=2, positions="relative", activation="relu", gated=False
)


def p5_run(directory, **changes):
    config = P5Config(
        max_items=4,
        tasks=("sequential",),
        rows=(8,),
        text_tokens=400,
        data=tiny_config(write_tiny_csv(directory)).data,
        ids=IdConfig(scheme="random", levels=2, size=8),
        model=MODEL,
        train=TrainConfig(steps=2, batch_size=8),
        decode=SearchConfig(beams=12, batch_size=16),
    )
    config = dataclasses.replace(config, **changes)
    return config, p5.open_run(config, load_dataset(config.data), directory / "run")


def instructrec_run(directory):
    config = InstructRecConfig(
        max_items=4,
        tasks=(SEQUENTIAL,),
        rows=(8,),
        candidates=6,
        text_tokens=480,
        data=tiny_config(write_tiny_csv(directory)).data,
        model=MODEL,
        train=TrainConfig(steps=2, batch_size=8),
    )
    return config, instructrec.open_run(config, load_dataset(config.data), directory / "run")


MAKERS = {
    "p5": p5_run,
    "p5 without users": lambda d: p5_run(d, history_users=False),
    "instructrec": instructrec_run,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_prompts_give_the_lists_of_the_command_without_the_data(name, tmp_path):
    config, parts = MAKERS[name](tmp_path)
    path = tmp_path / "run"
    save_random(parts.prompted.init, config.train, path)
    recommend = offered(config, "recommend")
    users = ["u003", "u021", "u039"]
    answers = [recommend(config, path, RecommendRequest(user, 10)) for user in users]
    without_data(path)
    model = jaxrec.open(path)
    lists = model.recommend(users=users)
    for row, answer in enumerate(answers):
        assert lists.numbers[row].tolist() == [item.item for item in answer.items]
        np.testing.assert_allclose(lists.scores[row], [i.score for i in answer.items], rtol=1e-4)
    read = {user: answer.history for user, answer in zip(users, answers, strict=True)}
    scores = model.score(read, lists.items.tolist())
    np.testing.assert_allclose(scores, lists.scores, rtol=1e-4, atol=1e-4)
    # All items that are left, by brute force.
    few = model.names.ids[:8].tolist()
    every = model.score(read, few)
    found = model.recommend(histories=read, top=5, allowed=few, exclude=few[:2], seen=True)
    assert found.numbers.tolist() == (2 + np.argsort(-every[:, 2:], axis=1)[:, :5]).tolist()
    anyone = [list(answers[0].history)]
    if name == "p5":
        with pytest.raises(ConfigError, match="this model reads who the user is; give users"):
            model.recommend(histories=anyone)
    else:
        assert model.recommend(histories=anyone).items[0].tolist() == lists.items[0].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_service_gives_the_same_lists_and_compiles_nothing_more(name, tmp_path):
    config, parts = MAKERS[name](tmp_path)
    save_random(parts.prompted.init, config.train, tmp_path / "run")
    model = jaxrec.open(tmp_path / "run")
    users, ids = ["u003", "u021", "u039"], model.names.ids
    calls = [
        {"users": users},
        {"histories": {"u003": ids[:1], "u021": ids[3:20]}, "exclude": [ids[5:9], []]},
        {"users": users[:1], "allowed": ids[:8]},
    ]
    check_engine(model, calls)
    served = open_items(tmp_path / "run", "auto")
    assert served is not None
    if name != "p5":
        return
    engine = RecommendEngine(ServedCatalogue.of(model, "first", (1,)))
    for histories, message in (([ids[:2]], "give users"), ({"ann": ids[:2]}, "no user 'ann'")):
        asked = model.asked(histories=histories)
        with pytest.raises(RequestError, match=message):
            engine.rows_of(engine.catalogue, asked, 12, lambda *_: None)
