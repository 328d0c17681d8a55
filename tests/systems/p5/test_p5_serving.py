"""P5 in use: recommendations through the command, the report, and an export that T5 loads."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError
from jaxrec.data.dataset import load_dataset
from jaxrec.data.encoded_prompts import encode_texts
from jaxrec.items.config import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.runs.config import SampledEvalConfig, SearchConfig
from jaxrec.runs.requests import RecommendRequest, whole_history
from jaxrec.runs.system import Options
from jaxrec.systems.p5 import TASKS, run as p5
from jaxrec.systems.p5.config import P5Config
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.texts import Datum, ask, find_tasks
from jaxrec.train import TrainConfig

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run without whole words, whose scales all differ from T5's."""
    directory = tmp_path_factory.mktemp("serving")
    config = P5Config(
        max_items=4,
        tasks=("rating", "sequential"),
        rows=(8, 8),
        text_tokens=500,
        data=tiny_config(write_tiny_csv(directory)).data,
        ids=IdConfig(scheme="random", levels=2, size=8),
        model=TransformerConfig(
            width=16,
            depth=1,
            encoder_depth=2,
            num_heads=2,
            positions="relative",
            activation="relu",
            gated=False,
            embedding_scale=3.0,
            logit_scale=0.5,
        ),
        train=TrainConfig(steps=2, batch_size=16, lr=1e-2, warmup_steps=1, eval_every=2),
        decode=SearchConfig(beams=10, batch_size=64),
        eval=SampledEvalConfig(baselines=("popularity",), resamples=20),
    )
    p5.train(config, directory / "run", Options())
    return config, directory / "run"


def test_recommend_asks_about_the_whole_history_and_names_what_it_gives(trained, capsys):
    config, directory = trained
    dataset = load_dataset(config.data)
    user = str(dataset.split.train.user_ids[3])
    answer = p5.recommend(config, directory, RecommendRequest(user, 5))
    history = whole_history(dataset, 3)
    labels = dataset.interactions.items.labels()
    assert answer.history == tuple(labels[item] for item in history)
    assert len(answer.items) == 5
    assert not {row.item for row in answer.items} & set(history.tolist())
    scores = [row.score for row in answer.items]
    assert scores == sorted(scores, reverse=True)
    # The scores are those of the IDs as the answers to a prompt that shows the newest items.
    tested = p5.load(config, directory)
    names = tested.data.names
    newest = "".join(names.items[item] for item in history[-4:])
    task = tested.tasks["sequential"]
    datum = Datum(user=3, history=history)
    (asked,) = ask(task, task.wordings["seen"], tested.data, [datum]).prompts
    assert asked == f"after{newest} what does{names.users[3]} watch next ?"
    logs = tested.prompted.score([asked], [names.items[row.item] for row in answer.items])
    assert np.argmax(logs[0]) == 0
    again = p5.recommend(config, directory, RecommendRequest(user, 10, include_seen=True))
    assert {row.item for row in again.items} & set(history.tolist())
    assert main(["recommend", str(directory), "--user", user, "--top", "2"]) == 0
    assert f" 1. {answer.items[0].title}" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"decode\.beams, 10; got 11"):
        p5.recommend(config, directory, RecommendRequest(user, 11))


def test_the_report_shows_every_table_and_the_wordings_are_no_baselines(trained, capsys):
    _, directory = trained
    assert main(["eval", str(directory)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: jaxrec report {directory}"
    assert main(["report", str(directory)]) == 0
    page, card = (directory / "report.html").read_text(), (directory / "README.md").read_text()
    assert "P5 on tiny" in page and "The strongest baseline, popularity," in page
    for name in ("sequential, seen items kept", "rating"):
        assert name in page and name in card
    assert "sequential/ndcg@10" in page.lower()


def test_an_export_is_a_t5_with_the_same_logits_and_ids(trained, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config, directory = trained
    out = tmp_path / "hf"
    assert main(["export", str(directory), "--out", str(out)]) == 0
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(out).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    prompted = p5.load(config, directory).prompted
    shape = prompted.model.config
    prompts = ["what should <user_3> watch ?", "after <a_1><b_2> what does <user_1> watch next ?"]
    source, valid = encode_texts(prompted.tokenizer, prompts)
    again = tokenizer(prompts, padding="max_length", max_length=source.shape[1])
    np.testing.assert_array_equal(again["input_ids"], source)
    target = np.concatenate([np.zeros((2, 1), np.int32), source[:, :5]], axis=1)
    ours = jax.jit(prompted.model.apply)(prompted.params, source, valid, target, target >= 0)
    with torch.no_grad():
        logits = theirs(
            input_ids=torch.tensor(source).long(),
            attention_mask=torch.tensor(valid).long(),
            decoder_input_ids=torch.tensor(target).long(),
        ).logits.numpy()
    written = shape.vocab_size - shape.read_only
    np.testing.assert_allclose(ours[..., :written], logits[..., :written], atol=1e-4)
    assert theirs.generation_config.suppress_tokens == list(range(written, shape.vocab_size))
    rows = json.loads((out / "item_ids.json").read_text())
    found = [tokenizer(row["id"], add_special_tokens=False)["input_ids"] for row in rows]
    np.testing.assert_array_equal(found, prompted.items.tokens)


def test_ids_are_shown_by_the_command_for_a_run_of_p5_too(trained, tmp_path, capsys):
    _, directory = trained
    file = tmp_path / "again.py"
    file.write_text(
        "from pathlib import Path\nfrom jaxrec.runs import load_run\n"
        f"def get_config(): return load_run(Path({str(directory)!r}))\n"
    )
    assert main(["ids", str(file), "--run-dir", str(tmp_path / "new")]) == 0
    text = capsys.readouterr().out
    assert "random: 30 items, 2 codes each of 8 x 8" in text
    assert (tmp_path / "new" / "ids" / "code_use.png").exists()


def test_whole_words_and_tasks_without_a_catalogue_are_refused_with_the_fix(trained):
    config, directory = trained
    tested, codes = p5.load(config, directory), p5.load_codes(directory)
    words = dataclasses.replace(
        tested.prompted,
        model=type(tested.prompted.model)(
            dataclasses.replace(tested.prompted.model.config, word_rows=32)
        ),
    )
    with pytest.raises(ConfigError, match=r"whole words.* --model\.word-rows 0"):
        p5.serving.open_model(dataclasses.replace(tested, prompted=words), codes)
    rating = find_tasks(["rating"], TASKS)[0]
    alone = dataclasses.replace(tested, tasks={"rating": rating})
    with pytest.raises(ConfigError, match="no task of rating ranks the whole catalogue; train one"):
        p5.serving.recommend(alone, codes, RecommendRequest("u000"))
