"""Planted faults are found, illegal answers are repaired, and prompts tell nothing held out."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import linregress

from jaxrec.core import ConfigError, DataError
from jaxrec.data import DataConfig
from jaxrec.eval import bootstrap_interval, natural_title, plain_title
from jaxrec.models import find_sentence_encoder
from jaxrec.prompting import ScriptedModel, ServiceError, StoredModel
from jaxrec.runs import Options, make_quick, with_seed
from jaxrec.systems.chatgpt import (
    WORDINGS,
    ChatGptConfig,
    ChatGptEvalConfig,
    DomainConfig,
    GroundingConfig,
    PlantedConfig,
    run,
)
from jaxrec.systems.chatgpt.measure import open_grounding, user_intervals
from jaxrec.systems.chatgpt.study import prepare
from jaxrec.testing import tiny_config, tiny_interactions, write_tiny_csv
from jaxrec.texts import AskedModelConfig, RepairOptions

LISTS = ("sequential", "sequential_choose", "direct")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny_csv(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def config(path):
    return ChatGptConfig(
        data=dataclasses.replace(tiny_config(path).data, rating_column="stars"),
        candidates=12,
        top=10,
        max_items=4,
        planted=PlantedConfig(script="neutral"),
        eval=ChatGptEvalConfig(ks=(1, 5, 10), baselines=(), test_instances=12, resamples=50),
    )


def _measure(config, directory, baselines=()):
    run.train(config, directory, Options())
    return run.evaluate(config, directory, baselines=baselines)


def _flat(report, part="metrics"):
    """The model's rows of all tables, and its main row, as "TABLE/METRIC"."""
    tables = {name: table["rows"]["model"][part] for name, table in report["tables"].items()}
    tables["all"] = report["rows"]["model"][part]
    return {f"{name}/{metric}": v for name, row in tables.items() for metric, v in row.items()}


def _planted(config, script, **settings):
    return dataclasses.replace(config, planted=PlantedConfig(script=script, **settings))


def _hits(study, name, order, k):
    """HR@k by hand of candidates in an order."""
    hits = []
    for datum in study.asked[name].questions.data:
        hits.append(datum.item in order(datum)[:k])
    return np.mean(hits)


def test_metrics_are_those_of_the_lists_that_the_script_gives(config, tmp_path):
    report = _measure(config, tmp_path)
    found = _flat(report)
    study = prepare(config)
    train = study.data.dataset.split.train
    counts = np.bincount(train.item, minlength=study.data.dataset.num_items)

    def popular(datum):
        return sorted(datum.candidates.tolist(), key=lambda item: (-counts[item], item))

    def unseen(datum):
        told = set(range(len(counts))) - set(datum.history[-config.max_items :].tolist())
        listed = sorted(told, key=lambda item: (-counts[item], item))[:10]
        return [item for item in listed if item not in datum.history]

    for k in (1, 5, 10):
        assert found[f"sequential/hr@{k}"] == _hits(study, "sequential", unseen, k)
        for name in ("sequential_choose", "direct"):
            assert found[f"{name}/hr@{k}|11"] == _hits(study, name, popular, k)
    assert all(found[f"{name}/compliance_before"] == 1.0 for name in study.asked)
    assert found["sequential/by_title"] == 1.0
    # The script lists ten films that the prompt does not show, and some are older ones of the user.
    assert found["sequential/already_met"] == pytest.approx(1 - found["sequential/listed"] / 10)
    totals = report["totals"]
    assert totals["prompts"] == sum(len(one.questions) for one in study.asked.values())
    values = report["values"]["sequential_choose/hr@1|11"]
    assert np.mean(values) == found["sequential_choose/hr@1|11"]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_probe_finds_the_slope_that_is_planted_and_none_without_bias(config, tmp_path, share):
    probed = dataclasses.replace(
        config,
        tasks=("sequential_choose",),
        candidates=19,
        eval=dataclasses.replace(config.eval, probe_slots=4, test_instances=0, resamples=200),
    )
    report = _measure(probed, tmp_path / "neutral")
    found, ends = _flat(report), _flat(report, "intervals")
    assert found["all/slope"] == 0.0 and ends["all/slope"] == [0.0, 0.0]
    neutral = np.array(report["values"]["sequential_choose/ndcg@10|18"])
    report = _measure(_planted(probed, "position", share=share), tmp_path / "biased")
    found, ends = _flat(report), _flat(report, "intervals")
    # A list in the order of the prompt has the truth at its slot.
    slots = np.array([0, 6, 12, 18])
    listed = np.where(slots < 10, 1 / np.log2(slots + 2), 0.0)
    pure = linregress(slots / 18, listed).slope
    if share == 1.0:
        assert found["all/slope"] == pytest.approx(pure)
        assert (found["all/first"], found["all/last"]) == (1.0, 0.0)
    else:
        # Users with the planted fault are the others than those whose metric does not move.
        moved = (found["all/first"] - found["all/last"]) / 1.0
        assert found["all/slope"] == pytest.approx(moved * pure)
        assert 0.2 < moved < 0.8 and neutral.mean() < 1.0
    assert ends["all/slope"][1] < 0


def test_malformed_answers_end_at_100_percent_and_stubborn_ones_count(config, tmp_path):
    neutral = _flat(_measure(config, tmp_path / "neutral"))
    broken = _planted(config, "malformed", share=0.7, complaints=2)
    report = _measure(broken, tmp_path / "broken")
    found = _flat(report)
    for name in config.tasks:
        before, ruled, after = (
            found[f"{name}/{part}"]
            for part in ("compliance_before", "compliance_rules", "compliance")
        )
        assert before < ruled < after == 1.0
        assert 1.0 - ruled <= found[f"{name}/rounds"] <= 2 * (1.0 - ruled)
    assert found["all/compliance"] == 1.0 > found["all/compliance_rules"]
    # Repaired answers are the answers that the script gives without the fault.
    for metric, value in neutral.items():
        if metric.split("/")[1].partition("@")[0] in ("hr", "ndcg", "rmse", "accuracy", "rougeL"):
            assert found[metric] == pytest.approx(value)
    # Without further questions, only rules repair.
    once = dataclasses.replace(broken, repair=RepairOptions(rounds=0))
    ruled = _flat(_measure(once, tmp_path / "once"))
    for name in config.tasks:
        assert ruled[f"{name}/compliance"] == found[f"{name}/compliance_rules"]


def test_a_model_that_never_obeys_gets_the_declared_values_and_ends(config, tmp_path):
    stubborn = _planted(config, "stubborn")
    report = _measure(stubborn, tmp_path, baselines=("popularity",))
    found = _flat(report)
    rows = report["tables"]["rating"]["rows"]
    assert found["rating/rmse"] == rows["mean rating"]["metrics"]["rmse"]
    assert found["rating/parsed"] == 0.0
    for name in LISTS:
        assert found[f"{name}/listed"] == 0.0
    assert found["sequential_yesno/accuracy"] == 0.5
    study = prepare(stubborn)
    count = sum(len(one.questions) for one in study.asked.values())
    assert report["totals"]["prompts"] == 3 * count


def test_misspelled_titles_are_grounded_and_made_up_ones_are_counted(config, tmp_path):
    planted = dataclasses.replace(_planted(config, "misspelled", share=0.6), tasks=("sequential",))
    found = _flat(_measure(planted, tmp_path))
    study = prepare(planted)
    known = {plain_title(title) for title in study.data.names.items}
    model, questions = run.open_model_of(study, tmp_path)
    titles = [
        line.split(" ", 1)[1]
        for prompt in questions["sequential"].prompts
        for line in model.answer(prompt, 0).splitlines()
    ]
    exact = np.mean([plain_title(title) in known for title in titles])
    invented = np.mean([title.endswith("Qvx") for title in titles])
    assert found["sequential/by_title"] == pytest.approx(
        exact, abs=0.02
    )  # equal errors in a list count once
    assert found["sequential/hallucinated"] >= invented > 0.05
    assert found["sequential/by_vector"] > 0


def test_prompts_hold_no_target_and_demonstrations_are_of_the_training_part(config):
    shown = dataclasses.replace(config, shots=2)
    study = prepare(shown)
    titles, split = study.data.names.items, study.data.dataset.split
    model = ScriptedModel()
    for name, asked in study.asked.items():
        prompts = asked.prompted(model, 10).prompts
        assert all(text.count("\nAnswer:") == 3 for text in prompts)
        for datum, text, bare in zip(
            asked.questions.data, prompts, asked.questions.prompts, strict=True
        ):
            assert text.endswith(bare)
            if name in ("sequential", "sequential_yesno"):
                history = bare.split("order: ")[1].split(".\n")[0]
                assert titles[datum.item] not in history
            if name == "rating":
                told = bare.split("How many")[0]
                assert titles[datum.item] not in told
            if name in ("sequential_choose", "direct"):
                assert bare.count(titles[datum.item]) == 1
        # Lists of demonstrations begin with training items.
        if name in LISTS:
            train = {titles[item] for items in split.train.sequences() for item in items}
            for row in asked.shown:
                first = [demonstration.answer.splitlines()[0] for demonstration in row]
                assert {line.removeprefix("1. ") for line in first} <= train


def test_demonstrations_that_do_not_fit_are_left_out_aloud(config, capsys):
    asked = prepare(dataclasses.replace(config, shots=2, tasks=("rating",))).asked["rating"]
    longest = max(len(text.split()) for text in asked.questions.prompts)
    prompts = asked.prompted(ScriptedModel(context=longest + 40), 10).prompts
    assert {text.count("Answer:") for text in prompts} <= {1, 2}
    assert "12 of 12 prompts show fewer demonstrations" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="without any demonstration"):
        asked.prompted(ScriptedModel(context=20), 10)


def test_the_order_of_a_direct_prompt_tells_nothing(config):
    study = prepare(config)
    for text in study.asked["direct"].questions.prompts:
        items = text.split("order: ")[1].split(".\n")[0].split("; ")
        assert items == sorted(items) and len(items) == config.max_items


def test_a_study_resumes_after_a_failing_service_and_counts_nothing_twice(
    config, tmp_path, monkeypatch
):
    asked, broken = [], [True]

    def answer(prompt, sample):
        if broken[0] and len(asked) >= 20:
            raise ServiceError("the service is down")
        asked.append(prompt)
        return "4" if "How many stars" in prompt else "yes"

    real = dataclasses.replace(
        config,
        planted=PlantedConfig(),
        tasks=("rating", "sequential_yesno"),
        asked=AskedModelConfig(endpoint="http://localhost:1/v1", name="x"),
    )
    monkeypatch.setattr(
        run,
        "open_asked_model",
        lambda config, answers=None: StoredModel(
            ScriptedModel(answer), tmp_path / "a.jsonl", chunk=4, recorded_usage=True
        ),
    )
    with pytest.raises(ServiceError, match="the same command asks the rest"):
        _measure(real, tmp_path / "run")
    broken[0] = False
    report = _measure(real, tmp_path / "run")
    assert report["totals"]["prompts"] == 12 + 24
    # Users with equal prompts share an answer.
    study = prepare(real)
    distinct = {text for one in study.asked.values() for text in one.questions.prompts}
    assert len(asked) == len(set(asked)) == len(distinct) > 20
    again = run.evaluate(real, tmp_path / "run", baselines=())
    assert again["rows"] == report["rows"] and len(asked) == len(distinct)
    assert again["totals"] == report["totals"]


def test_wordings_are_replaced_and_wrong_ones_are_named(config, tmp_path):
    file = tmp_path / "wordings.json"
    tuned = dataclasses.replace(config, wordings=str(file), tasks=("rating",))
    file.write_text(json.dumps({"rating": {"form": "Write a number."}}))
    text = prepare(tuned).asked["rating"].questions.prompts[0]
    assert text.endswith("\nWrite a number.\nAnswer:")
    assert WORDINGS["rating"].form != "Write a number."
    for given, words in (
        ({"rating": {"form": "Write {colour}."}}, "asks for {colour}, which the data do not give"),
        ({"rating": {"task": "Think of {item}."}}, "asks for {item}"),
        ({"rating": {"behaviour": "{item}: {star}?"}}, "shows {star}, which is the answer"),
        ({"ratings": {}}, "did you mean 'rating'"),
        ({"rating": {"from": "x"}}, "did you mean 'form'"),
        ({"rating": {"form": " "}}, "is empty"),
        ({"rating": {"form": "{"}}, "brace"),
        ({"rating": {"behaviour": "How many?"}}, "rating does not have {item} or {title}; add it"),
        ({"sequential_choose": {"behaviour": "{items}"}}, "does not have {candidates}"),
        ({"sequential": {"form": "After {title}?"}}, "shows {title}, which tells the answer"),
        ({"direct": {"form": "{facts}"}}, "shows {facts}, which tells the answer"),
    ):
        file.write_text(json.dumps(given))
        with pytest.raises(ConfigError, match=words.replace("{", r"\{").replace("}", r"\}")):
            prepare(tuned)
    file.write_text("[]")
    with pytest.raises(DataError, match="object of objects"):
        prepare(tuned)
    file.unlink()
    with pytest.raises(DataError, match="is missing; check --wordings"):
        prepare(tuned)


def test_settings_that_cannot_be_asked_are_rejected_before_any_work(config, tmp_path):
    replace = dataclasses.replace
    with pytest.raises(ConfigError, match="no task 'ratings' in tasks, did you mean 'rating'"):
        replace(config, tasks=("ratings",))
    with pytest.raises(ConfigError, match="--top 4 must be at most"):
        replace(config, top=4)
    with pytest.raises(DataError, match="needs demonstrations of task 'rating' from 1001 users"):
        run.train(replace(config, shots=1000), tmp_path / "run", Options())
    with pytest.raises(ConfigError, match="candidates is 29"):
        run.train(replace(config, candidates=29), tmp_path / "run", Options())
    for changed, message in (
        ({"facts": True}, "--facts is about the task explanation"),
        ({"check_facts": True}, "--check-facts is about the task explanation"),
        ({"reviews": "x"}, "--reviews x is about the tasks explanation and summary"),
        ({"stop": ("",)}, "stop contains"),
    ):
        with pytest.raises(ConfigError, match=message):
            replace(config, tasks=("rating",), **changed)
    with pytest.raises(ConfigError, match=r"--planted\.share 0\.5 is read only with a"):
        PlantedConfig(share=0.5)
    with pytest.raises(ConfigError, match="grounding"):
        GroundingConfig(threshold=1.5)
    with pytest.raises(ConfigError, match="thing is empty"):
        DomainConfig(thing=" ")
    with pytest.raises(ConfigError, match="baselines has something twice"):
        replace(config.eval, baselines=("popularity", "popularity"))
    with pytest.raises(DataError, match="no recording"):
        recorded = AskedModelConfig(recorded=str(tmp_path / "none"))
        run.train(
            replace(config, planted=PlantedConfig(), asked=recorded), tmp_path / "run", Options()
        )
    with pytest.raises(DataError, match="; lower it, or raise --words"):
        run.train(
            replace(config, tasks=("explanation",), words=1, shots=1), tmp_path / "run", Options()
        )
    with pytest.raises(ConfigError, match="stands in place of a model"):
        replace(config, asked=AskedModelConfig(path="x"))
    with pytest.raises(ConfigError, match="no language model is named"):
        run.train(replace(config, planted=PlantedConfig()), tmp_path / "run", Options())
    assert not (tmp_path / "run").exists()


def test_equal_titles_are_rejected_or_marked(config, path, tmp_path):
    table = path.parent / "items.csv"
    lines = table.read_text().splitlines()
    # The second item gets title and year of the first.
    first, second = lines[1].split(","), lines[2].split(",")
    lines[2] = ",".join([second[0], *first[1:3], *second[3:]])
    changed = tmp_path / "items.csv"
    changed.write_text("\n".join(lines))
    data = dataclasses.replace(config.data, item_table=str(changed))
    twins = dataclasses.replace(config, data=data)
    with pytest.raises(DataError, match=r"1 titles are not unique: items .* are all 'Film"):
        prepare(twins)
    grounding = dataclasses.replace(config.grounding, duplicates="mark")
    titles = prepare(dataclasses.replace(twins, grounding=grounding)).data.names.items
    assert len({plain_title(title) for title in titles}) == len(titles)
    assert sum("[" in title for title in titles) == 2
    assert all(natural_title(title) == title for title in titles)


def test_a_seed_draws_other_users_and_a_quick_study_asks_few(config):
    one, other = (prepare(with_seed(config, seed)).asked["sequential"].questions for seed in (0, 1))
    assert one.users.tolist() != other.users.tolist()
    assert make_quick(config).eval.test_instances == 5


def test_intervals_resample_users_with_all_of_their_rows():
    rng = np.random.default_rng(0)
    users = rng.permutation(np.repeat(np.arange(40), 5))
    values = rng.normal(0, 1, 40)[users] + rng.normal(0, 0.1, 200)

    def measure(rows):
        return {"mean": values[rows].mean(), "rms": np.sqrt(np.mean(values[rows] ** 2))}

    found = user_intervals(measure, users, 3000)
    # Each user has equally many rows, so the mean is that of the users' means.
    means = np.array([values[users == user].mean() for user in range(40)])
    wanted = bootstrap_interval(means, resamples=3000)
    np.testing.assert_allclose(found["mean"], [wanted.low, wanted.high], atol=0.02)
    squares = np.array([np.mean(values[users == user] ** 2) for user in range(40)])
    wanted = bootstrap_interval(squares, resamples=3000)
    np.testing.assert_allclose(found["rms"], np.sqrt([wanted.low, wanted.high]), atol=0.02)


@pytest.mark.slow
def test_a_sentence_encoder_grounds_what_letters_do_not(config):
    encoder = find_sentence_encoder()
    if encoder is None:
        pytest.skip("no sentence encoder on this machine; see docs/guides/text_models.md")
    titles = ["The Attorney", "Space Travellers", "A Cat"]
    letters = open_grounding(config, titles)
    assert letters.find(["The Lawyer"])[0].how == "missing"
    grounding = dataclasses.replace(config.grounding, encoder=str(encoder), threshold=0.6)
    meaning = open_grounding(dataclasses.replace(config, grounding=grounding), titles)
    assert meaning.find(["The Lawyer"])[0].item == 0
    wrong = dataclasses.replace(grounding, encoder="nowhere")
    with pytest.raises(ConfigError, match=r"grounding.encoder is 'nowhere'"):
        open_grounding(dataclasses.replace(config, grounding=wrong), titles)


def test_a_folder_of_amazon_reviews_gives_all_tasks(config, tmp_path):
    data = tiny_interactions()
    rows = [
        {
            "reviewerID": str(data.user_ids[user]),
            "asin": str(data.items.ids[item]),
            "overall": float(rating),
            "unixReviewTime": int(time),
            "summary": f"Headline {row}",
            "reviewText": f"This lipstick is nice, number {row}. I use it daily.",
        }
        for row, (user, item, rating, time) in enumerate(
            zip(data.user, data.item, data.rating, data.time, strict=True)
        )
    ]
    reviews = tmp_path / "reviews_Beauty_5.json"
    reviews.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = [
        {"asin": str(key), "title": f"Lipstick {key}", "categories": [["Beauty"]]}
        for key in data.items.ids
    ]
    meta = tmp_path / "meta_Beauty.json"
    meta.write_text("".join(json.dumps(item) + "\n" for item in items))
    beauty = dataclasses.replace(
        config,
        data=DataConfig(name="beauty", from_file=str(tmp_path), min_count=0),
        reviews=str(reviews),
        domain=DomainConfig(thing="product", things="products", used="bought"),
    )
    study = prepare(beauty)
    (first, *_) = study.asked["explanation"].questions.prompts
    assert "Lipstick i0" in first and "mention lipstick" in first
    fields = study.asked["summary"].questions.fields[0]
    assert fields["review"].startswith("this lipstick is nice , number")
    assert fields["headline"].startswith("headline ")
    rating = study.asked["rating"].questions
    assert "a product" not in rating.prompts[0] and len(set(rating.stars.tolist())) > 1
