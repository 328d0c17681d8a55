"""The prompts of a seed are always the same: runs are resumed, and compared over versions.

Each digest is of the first 50 training examples of a task, or of all its questions at a stage, on
the tiny data set, with items and users as tokens and as numbers.
"""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from jaxrec.data import Dataset, leave_one_out, random_split, synthetic_reviews
from jaxrec.ids import simple
from jaxrec.systems.generative import EvalConfig
from jaxrec.systems.p5 import P5Config
from jaxrec.systems.p5.questions import held_out_questions, validation
from jaxrec.systems.p5.tasks import ANYONE, TASKS
from jaxrec.testing import tiny_interactions
from jaxrec.texts import (
    CatalogueItem,
    Facts,
    FreeText,
    OneOfCandidates,
    PromptData,
    Rating,
    held_out,
    make_names,
    training_stream,
)
from jaxrec.train import TrainConfig

DIGESTS = {
    "tokens train sequential": "7e93ed1925315dee",
    "tokens train sequential_choose": "e4aa38d97caef909",
    "tokens train sequential_yesno": "8ba94b77cc34c2ed",
    "tokens train straightforward": "5f3b7a4dec077865",
    "tokens train direct_choose": "0f9c065b0bfab364",
    "tokens train direct_yesno": "2b700c284744640a",
    "tokens train rating": "65fc1bb4b1f6d73b",
    "tokens train rating_yesno": "93f438324688ea82",
    "tokens train rating_like": "62f3aa22c6cb6041",
    "tokens train explanation": "9d2db982e46a0c2b",
    "tokens train review_title": "c4d798b55a3520ee",
    "tokens train review_star": "007e36bca938900a",
    "tokens test sequential seen": "0c9d2fc9a4f268e4",
    "tokens test sequential unseen": "8e7f9028bf0b80e8",
    "tokens test straightforward seen": "4f2a4d8f6a5d0da8",
    "tokens test straightforward unseen": "450b174d68aee4d4",
    "tokens test sequential_choose seen": "ae606e55a713183d",
    "tokens test sequential_choose unseen": "eb0c909ca09179ed",
    "tokens test direct_choose seen": "6fb2e301b97fe5f7",
    "tokens test direct_choose unseen": "175def6be9f00f10",
    "tokens test rating seen": "72a8b0ab882ace62",
    "tokens test rating unseen": "c13fde23e248ec0e",
    "tokens test explanation-1": "d4ca476db8a2fcfa",
    "tokens test explanation-2": "e2bc56b9d2819d0a",
    "tokens test explanation-3": "0e07be6ca5513281",
    "tokens test explanation-4": "71cb3a0861f1b5f8",
    "tokens test explanation-5": "b763d321e7b224f5",
    "tokens test explanation-6": "df19d10a786da712",
    "tokens test review_title-1": "2faeca75117ef2f0",
    "tokens test review_title-2": "d3ad3dd13b648761",
    "tokens test review_title-3": "70eb5f82612dc086",
    "tokens test review_star-1": "f71e08b73c05f01a",
    "tokens test review_star-2": "0590c471b6e1c37a",
    "tokens test review_star-3": "a8d8820eb43f6a33",
    "tokens train review": "2dbc36f56b0f3487",
    "tokens train conversation": "93beabac63e41aa0",
    "tokens test conversation seen": "ac2f1c9e1a2f5281",
    "tokens test conversation unseen": "7c1d0cfe09cdf2ba",
    "tokens test review-1": "75f11548ba19f051",
    "tokens test review-2": "4a7ad80c675da1c4",
    "tokens test review-3": "be86ec0dc7574d56",
    "tokens test review-4": "985345135858febd",
    "tokens test review-5": "c9cc7aea8f92ace1",
    "tokens train about": "8353f0266c062b70",
    "tokens test about-1": "c8b1784790a2f7b6",
    "tokens test about-2": "0a01725d8ca3254c",
    "tokens test about-3": "59952b2769f877ee",
    "tokens test about-4": "659abaa239795cc4",
    "tokens train about_facts": "7403a1b987799d0a",
    "tokens test about_facts-1": "caa122aed98502c8",
    "tokens test about_facts-2": "f430c891e1f76fee",
    "tokens test about_facts-3": "8712cd643714f855",
    "tokens test about_facts-4": "40623d4ec0098c76",
    "tokens valid sequential": "29e489c57d562633",
    "tokens valid straightforward": "a9a3a994c2be67ac",
    "tokens valid sequential_choose": "b32d93bfe8128675",
    "tokens valid direct_choose": "f58651c2e22755c9",
    "tokens valid rating": "2d1a8d3f279239bc",
    "tokens valid explanation": "51bd4435eea1cd28",
    "tokens valid review_title": "6a1a54376427a430",
    "numbers train sequential": "c3d890dd12054f53",
    "numbers train sequential_choose": "4b06f757247fcd82",
    "numbers train sequential_yesno": "6f5920baea59f918",
    "numbers train straightforward": "cd9b86d3e5817828",
    "numbers train direct_choose": "c4cffcaff6f2962a",
    "numbers train direct_yesno": "8cad7d587cec16ba",
    "numbers train rating": "15e8c90c6ad92817",
    "numbers train rating_yesno": "4666478d8c89ebc7",
    "numbers train rating_like": "ef717a78310baa29",
    "numbers train explanation": "a733d0e352ab1a0b",
    "numbers train review_title": "b101e96971611991",
    "numbers train review_star": "5e5ebf647b05b0db",
    "numbers test sequential seen": "f2f450059317a896",
    "numbers test sequential unseen": "5ab52c66e764c993",
    "numbers test straightforward seen": "42a19c04fac46a2c",
    "numbers test straightforward unseen": "8804ef221238b8a8",
    "numbers test sequential_choose seen": "821ee89abb06e91f",
    "numbers test sequential_choose unseen": "3c388b206eb5ff5d",
    "numbers test direct_choose seen": "733a524dd057d069",
    "numbers test direct_choose unseen": "9f937277d7cb3a2f",
    "numbers test rating seen": "dacfc856c7353485",
    "numbers test rating unseen": "801ec295189377d9",
    "numbers test explanation-1": "59cb0c959a838e01",
    "numbers test explanation-2": "056b95ba70b4e3cf",
    "numbers test explanation-3": "4e85c1cfd1fa2b7a",
    "numbers test explanation-4": "a02ac2bbb4406c2d",
    "numbers test explanation-5": "8501b641534e92b7",
    "numbers test explanation-6": "0bacc8d11812cd36",
    "numbers test review_title-1": "2faeca75117ef2f0",
    "numbers test review_title-2": "75dc686e3553acf4",
    "numbers test review_title-3": "70eb5f82612dc086",
    "numbers test review_star-1": "f71e08b73c05f01a",
    "numbers test review_star-2": "dc01ec63add352d2",
    "numbers test review_star-3": "8cf7cd4543f8ec2d",
    "numbers train review": "1556c1516a2141de",
    "numbers train conversation": "f575960d778e0874",
    "numbers test conversation seen": "2491d8289d4f28ed",
    "numbers test conversation unseen": "a13333a750bff94f",
    "numbers test review-1": "7b7325c4cc4b8d79",
    "numbers test review-2": "7aa2d437a4788fbf",
    "numbers test review-3": "6eb5ae67c5e4550f",
    "numbers test review-4": "0fa6ce72345aea7e",
    "numbers test review-5": "56f2d07390b87216",
    "numbers train about": "f9fec3472cb5a867",
    "numbers test about-1": "99a69159fc6f76d4",
    "numbers test about-2": "bf60a91487d6e257",
    "numbers test about-3": "9bcab9c0d40c3f41",
    "numbers test about-4": "cfd2c5b469196ad1",
    "numbers train about_facts": "a7d563c94817f32f",
    "numbers test about_facts-1": "da5e3ad6e841ce9b",
    "numbers test about_facts-2": "0f06c7ecbb9f1e62",
    "numbers test about_facts-3": "23d1684aa46e631a",
    "numbers test about_facts-4": "1df9cad47a1b3576",
    "numbers valid sequential": "7051566d0844d33c",
    "numbers valid straightforward": "cdde136b925d661c",
    "numbers valid sequential_choose": "f2b270fae3ce2f10",
    "numbers valid direct_choose": "6da1982390c333d8",
    "numbers valid rating": "f1f002349d5ce123",
    "numbers valid explanation": "0e8f8b5753430c27",
    "numbers valid review_title": "64702afc3f127041",
}


def digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


@pytest.fixture(scope="module", params=["tokens", "numbers"])
def data(request):
    """Users with a history are unnamed, and targets recent, where names are numbers."""
    interactions = tiny_interactions()
    dataset = Dataset(interactions, leave_one_out(interactions))
    tokens = request.param == "tokens"
    codes = simple.independent(30) if tokens else simple.random(30, 2, 8, seed=0)
    names = make_names(request.param, request.param, codes, 40)
    ratings = random_split(interactions)
    kept = ratings.train[~held_out(dataset)[ratings.train]]
    return request.param, PromptData(
        dataset=dataset,
        names=names if tokens else dataclasses.replace(names, anyone=ANYONE),
        ratings=dataclasses.replace(ratings, train=kept),
        reviews=synthetic_reviews(interactions),
        facts=Facts.read(interactions.items),
        max_items=4,
        candidates=6,
        max_targets=0 if tokens else 2,
    )


@pytest.mark.parametrize("name", TASKS)
def test_training_examples_of_a_seed_never_change(name, data):
    kind, data = data
    stream = training_stream(TASKS[name].fit(data.names), data)
    examples = [list(stream.example(3, place)) for place in range(50)]
    assert digest(examples) == DIGESTS[f"{kind} train {name}"]


RANKING = (CatalogueItem, OneOfCandidates)


@pytest.mark.parametrize("name", [n for n, t in TASKS.items() if isinstance(t.answer, RANKING)])
@pytest.mark.parametrize("wording", ["seen", "unseen"])
def test_questions_about_test_items_never_change(name, wording, data):
    kind, data = data
    asked = held_out_questions(data, TASKS[name].fit(data.names), "test", np.arange(40), wording)
    choose = isinstance(TASKS[name].answer, OneOfCandidates)
    candidates = asked.candidates.tolist() if choose else None
    found = digest([asked.prompts, asked.targets.tolist(), candidates])
    assert found == DIGESTS[f"{kind} test {name} {wording}"]


@pytest.mark.parametrize("wording", ["seen", "unseen"])
def test_questions_about_test_ratings_never_change(wording, data):
    kind, data = data
    task = TASKS["rating"].fit(data.names)
    asked = held_out_questions(data, task, "test", task.source.units(data, "test"), wording)
    found = digest([asked.prompts, asked.stars.astype(float).tolist()])
    assert found == DIGESTS[f"{kind} test rating {wording}"]


@pytest.mark.parametrize("name", [n for n, t in TASKS.items() if isinstance(t.answer, FreeText)])
def test_questions_about_test_reviews_never_change(name, data):
    kind, data = data
    task = TASKS[name].fit(data.names)
    rows = np.random.default_rng(0).permutation(task.source.units(data, "test"))[:1000]
    for template in task.templates:
        asked = held_out_questions(data, task, "test", rows, template.name)
        assert digest(asked.prompts) == DIGESTS[f"{kind} test {template.name}"]


def test_questions_of_the_validation_never_change(data):
    kind, data = data
    expected = {k.split(" ")[2]: v for k, v in DIGESTS.items() if k.startswith(f"{kind} valid")}
    config = P5Config(
        tasks=tuple(expected),
        rows=(1,) * len(expected),
        train=TrainConfig(batch_size=len(expected), seed=5),
        eval=EvalConfig(valid_users=20, baselines=()),
    )
    found = {}
    for name, asked in validation(config, data).items():
        kind_of_answer = TASKS[name].answer
        if isinstance(kind_of_answer, RANKING):
            found[name] = [asked.prompts, asked.users.tolist(), asked.targets.tolist()]
        elif isinstance(kind_of_answer, Rating):
            found[name] = [asked.prompts, asked.stars.astype(float).tolist()]
        else:
            field = kind_of_answer.field
            found[name] = [asked.prompts, [fields[field] for fields in asked.fields]]
    assert {name: digest(value) for name, value in found.items()} == expected


@pytest.mark.parametrize(
    ("tasks", "validated"),
    [(("direct_yesno", "sequential"), ["sequential"]), (("direct_yesno",), ["direct_yesno"])],
)
def test_tasks_that_select_nothing_are_validated_only_on_their_own(tasks, validated, data):
    rows = (1,) * len(tasks)
    config = P5Config(tasks=tasks, rows=rows, train=TrainConfig(batch_size=len(tasks)))
    assert list(validation(config, data[1])) == validated
