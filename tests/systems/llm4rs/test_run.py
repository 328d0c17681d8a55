"""A whole run of LLM4RS on tiny data: training, table, position bias, a model asked as it is."""

import dataclasses

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError, to_json
from jaxrec.data import ItemTable
from jaxrec.models import TransformerConfig
from jaxrec.prompting import LocalModel, ScriptedModel
from jaxrec.runs import Options, evaluate_run, load_run, make_quick, with_seed
from jaxrec.systems.llm4rs import AskConfig, InstancesConfig, Llm4rsConfig, PromptConfig, run
from jaxrec.systems.llm4rs.table import measure
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.texts import AskedModelConfig
from jaxrec.train import TrainConfig


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    data = tiny_config(write_tiny_csv(tmp_path_factory.mktemp("data"))).data
    return Llm4rsConfig(
        data=dataclasses.replace(data, min_count=0),
        instances=InstancesConfig(history=2, min_positives=3, min_negatives=4, targets=1),
        prompt=PromptConfig(quoted=True),
        train=TrainConfig(steps=4, batch_size=4, eval_every=4, warmup_steps=1),
        model=TransformerConfig(width=16, depth=1, num_heads=2, max_length=256),
        eval=AskConfig(
            valid_instances=2, test_instances=6, shuffles=2, resamples=10, curve=(0.5, 1.0)
        ),
    )


def asking(config, **changes):
    """The config with a model that is asked, and so without settings of a training."""
    usual = {"train": Llm4rsConfig.train, "model": Llm4rsConfig.model}
    return dataclasses.replace(config, **usual, **changes)


@pytest.fixture(scope="module")
def instances(config):
    return run.load_instances(config)


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    run.train(config, directory, Options())
    return directory


def letters(prompt, _):
    """Answer every form."""
    if "rate" in prompt:
        return " 3.5" if "Film 01" in prompt.split("rate")[1] else " 2"
    return " E C A B D" if "(E)" in prompt else " A"


# The network takes longer to fit than all other baselines.
@pytest.mark.parametrize(
    "network", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["quick", "all"]
)
def test_the_table_has_every_form_beside_its_baselines(network, config, instances):
    baselines = [name for name in config.eval.baselines if network or name != "ncf"]
    if not network:
        config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, curve=()))
    shares = {" 1": -2.0, " 2": -1.0, " 3": -1.5, " 4": -1.0, " 5": -3.0, " A": -1.0, " B": -2.0}
    model = ScriptedModel(letters, logprob=lambda prompt, text: shares.get(text, -4.0))
    prompter = run.make_prompter(config, instances)
    report = measure(config, model, prompter, instances, baselines)
    rows = report["rows"]
    forms = {
        f"{form}-wise, {answers}" for form in config.eval.forms for answers in config.eval.answers
    }
    # The first of them is the row of the model.
    assert set(rows) == {
        "model", "random", "oracle", *baselines, *forms - {"list-wise, constrained"}
    }  # fmt: skip
    assert rows["random"]["metrics"]["ndcg@3"] == pytest.approx(0.42619, abs=1e-5)
    assert rows["random"]["metrics"]["mrr@3"] == pytest.approx(0.36667, abs=1e-5)
    assert rows["oracle"]["metrics"]["ndcg@3"] == 1.0
    for name in ("model", "pair-wise, constrained", "point-wise, constrained"):
        assert rows[name]["metrics"]["compliance"] == 1.0
    prompts = {name: row["metrics"].get("prompts") for name, row in rows.items()}
    assert prompts["model"] == 1 and prompts["pair-wise, free"] == 10
    assert prompts["point-wise, free"] == 5
    for name, row in rows.items():
        if "tokens" in row["metrics"]:
            gain = row["metrics"]["ndcg@3"] - rows["random"]["metrics"]["ndcg@3"]
            per = row["metrics"]["gain_per_1000_tokens"]
            assert per == pytest.approx(1000 * gain / row["metrics"]["tokens"]), name
            over = row["metrics"]["ndcg@3"] - rows["item-mean"]["metrics"]["ndcg@3"]
            assert row["metrics"]["over_item_mean"] == pytest.approx(over), name
    assert len(report["values"]["ndcg@3"]) == report["protocol"]["test_users"]
    if network:
        shares = report["tables"]["training data"]["rows"]
        assert set(shares) == {"mf, 50 %", "mf, 100 %", "ncf, 50 %", "ncf, 100 %"}
        assert shares["mf, 100 %"]["metrics"] == rows["mf"]["metrics"]


def test_a_title_and_each_fixed_piece_are_one_token_that_is_only_read(config, trained, instances):
    opened = run.open_model(config, trained)
    prompter = run.make_prompter(config, instances)
    (text,) = prompter.prompts("list", instances.test[0])
    # Role and beginning, two titles with a comma, the middle, five marks and titles, the end.
    assert len(opened.tokenizer(text)["input_ids"]) <= 1 + 3 + 1 + 10 + 1
    size = opened.model.spec.config
    for word in (" A", " E", " 1", " 5"):
        (number,) = opened.tokenizer(word)["input_ids"]
        assert number < size.vocab_size - size.read_only
    (title,) = opened.tokenizer(f'"{prompter.titles[0]}"')["input_ids"]
    assert title >= size.vocab_size - size.read_only
    assert load_run(trained) == config


def test_a_model_that_prefers_a_place_is_found_out(config, instances):
    prompter = run.make_prompter(config, instances)
    first = ScriptedModel(lambda prompt, _: " A B C D E")
    asked = dataclasses.replace(
        config,
        eval=dataclasses.replace(
            config.eval, forms=("list",), answers=("free",), shuffles=9, curve=()
        ),
    )
    places = measure(asked, first, prompter, instances, [])["tables"]["places"]["rows"]
    assert places["place 1"]["metrics"]["place_share"] == 1.0
    # The rank of the target is its place, and uniform: a standard deviation of the root of 2.
    assert places["all"]["metrics"]["rank_std"] == pytest.approx(np.sqrt(2), abs=0.2)

    def honest(prompt, _):
        titles = [prompt.split(f"({letter}) ")[1].split('"')[1] for letter in "ABCDE"]
        order = sorted(range(5), key=lambda n: titles[n])
        return " " + " ".join("ABCDE"[n] for n in order)

    fair = measure(asked, ScriptedModel(honest), prompter, instances, [])
    assert fair["tables"]["places"]["rows"]["all"]["metrics"]["rank_std"] == 0.0
    assert fair["rows"]["model"]["metrics"]["compliance"] == 1.0


def test_a_model_is_asked_as_it_is_and_its_answers_are_stored(config, trained, instances, tmp_path):
    asked = asking(
        config,
        asked=AskedModelConfig(path=str(trained)),
        eval=dataclasses.replace(
            config.eval, forms=("list",), answers=("constrained",), shuffles=0, curve=()
        ),
    )
    run.train(asked, tmp_path / "asked", Options())
    rows = evaluate_run(asked, tmp_path / "asked", [])["rows"]
    listed = dataclasses.replace(config.eval, forms=("list",), shuffles=0, curve=())
    opened = run.open_model(config, trained)
    own = measure(
        dataclasses.replace(config, eval=listed),
        LocalModel.of(opened),
        run.make_prompter(config, instances),
        instances,
        [],
    )["rows"]
    assert rows["model"]["metrics"]["ndcg@3"] == own["model"]["metrics"]["ndcg@3"]
    assert (tmp_path / "asked" / "answers.jsonl").exists()
    again = evaluate_run(asked, tmp_path / "asked", [])["rows"]
    assert again == rows
    with pytest.raises(ConfigError, match="has none of its own"):
        run.open_model(asked, tmp_path / "asked")


@pytest.mark.parametrize("dry", [True, False])
def test_a_model_that_cannot_be_opened_is_named_before_anything_is_written(config, tmp_path, dry):
    for asked, error in (
        (AskedModelConfig(path=str(tmp_path / "none")), DataError),
        (AskedModelConfig(recorded=str(tmp_path / "none")), DataError),
    ):
        with pytest.raises(error, match="none"):
            run.train(asking(config, asked=asked), tmp_path / "run", Options(dry=dry))
    assert not (tmp_path / "run").exists()


def test_a_pretrained_model_is_not_asked_about_items_without_titles(config, instances):
    bare = ItemTable(instances.data.items.ids)
    instances = dataclasses.replace(instances, data=dataclasses.replace(instances.data, items=bare))
    # A model from scratch learns the IDs.
    assert run.make_prompter(config, instances).titles[0] == str(bare.ids[0])
    asked = asking(config, asked=AskedModelConfig(path="somewhere"))
    with pytest.raises(DataError, match=r"have no titles, .* give --data.item-table"):
        run.make_prompter(asked, instances)


def test_what_cannot_be_trained_or_measured_is_named(config, tmp_path):
    short = dataclasses.replace(config, max_length=8)
    with pytest.raises(ConfigError, match="longer than --max-length 8"):
        run.train(short, tmp_path / "a", Options())
    few = dataclasses.replace(
        config, instances=dataclasses.replace(config.instances, min_negatives=12)
    )
    with pytest.raises(DataError, match=r"no user of .* has"):
        run.train(few, tmp_path / "b", Options())
    with pytest.raises(ConfigError, match="no baseline 'item-men', did you mean 'item-mean'"):
        dataclasses.replace(config.eval, baselines=("item-men",))


def test_settings_of_a_training_are_rejected_beside_a_model_that_is_asked(config, tmp_path):
    asked = asking(config, asked=AskedModelConfig(path="somewhere"))
    for changes, name in (
        ({"train": TrainConfig(steps=7)}, "--train.steps 7 is of a training"),
        ({"draws": 2}, "--draws 2"),
        ({"vocab_size": 400}, "--vocab-size 400"),
        ({"model": TransformerConfig()}, "--model."),
    ):
        with pytest.raises(ConfigError, match=name):
            dataclasses.replace(asked, **changes)
    # A run of an earlier version may have stored them.
    stored = dataclasses.asdict(asked) | {"train": {"steps": 7, "seed": 5}, "draws": 2}
    (tmp_path / "config.json").write_text(to_json({"system": "llm4rs"} | stored))
    assert load_run(tmp_path) == with_seed(asked, 5)
    # The seed is also that of the baselines, and the quick variant changes no training.
    assert with_seed(asked, 3).train.seed == 3
    assert make_quick(asked).train == asked.train
    assert make_quick(asked).eval.test_instances == 5
