"""`import-hf` and `export`: what Hugging Face then loads gives the same numbers."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core.settings import from_dict
from jaxrec.ids import IdVocabulary, ItemCodes
from jaxrec.models import load_model
from jaxrec.runs.directory import load_codes
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.config import load_config
from jaxrec.systems.generative.exported import readme
from jaxrec.testing import tiny_config, write_tiny_csv

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CONFIG = """
import dataclasses
from jaxrec.testing import tiny_config

def get_config():
    config = tiny_config({path!r})
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, activation="relu", gated=False),
        eval=dataclasses.replace(config.eval, baselines=()),
    )
"""


@pytest.fixture(autouse=True)
def _quiet():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("exchange")
    (directory / "tiny.py").write_text(CONFIG.format(path=str(write_tiny_csv(directory))))
    run = directory / "run"
    assert main(["train", str(directory / "tiny.py"), "--run-dir", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def exported(trained):
    out = trained.parent / "hf"
    assert main(["export", str(trained), "--to", "hf", "--out", str(out)]) == 0
    return out


@pytest.fixture
def llama(tmp_path):
    """A tiny text model of Hugging Face with a byte-level tokenizer, saved."""
    from jaxrec.data.tokenizers import save_tokenizer, train_bpe
    from jaxrec.testing.peers import make_peer

    tokenizer = train_bpe(["What will the user watch next?"] * 5, 300)
    directory = tmp_path / "theirs"
    model = make_peer("llama", directory)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for table in (model.model.embed_tokens.weight, model.lm_head.weight):
            table.normal_(0, 0.3)
    model.save_pretrained(directory)
    save_tokenizer(tokenizer, directory)
    return model.eval(), tokenizer, directory


def test_an_exported_run_gives_the_same_logits_and_carries_its_ids(trained, exported):
    out = exported
    config, codes = load_config(trained), load_codes(trained)
    vocabulary = IdVocabulary(sizes=codes.sizes)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    items = json.loads((out / "item_ids.json").read_text())
    assert len(items) == codes.num_items == len({row["id"] for row in items})
    assert items[3]["label"]
    expected = vocabulary.tokens(codes.codes)
    found = [tokenizer(row["id"], add_special_tokens=False)["input_ids"] for row in items]
    np.testing.assert_array_equal(found, expected)

    history = "".join(row["id"] for row in items[:4])
    tokens = [1, *tokenizer(history, add_special_tokens=False)["input_ids"]]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    with torch.no_grad():
        logits = theirs(torch.tensor([tokens])).logits.numpy()
    recommender = generative.load_recommender(config, codes, trained)
    tokens = jnp.asarray([tokens], jnp.int32)
    ours = jax.jit(recommender.model.apply)(recommender.params, tokens, tokens > 0)
    np.testing.assert_allclose(ours, logits, atol=1e-4)
    assert theirs.config.pad_token_id == 0 and theirs.config.bos_token_id == 1
    # Token 2, the end of a Llama's text, is a code here.
    assert theirs.config.eos_token_id is None and theirs.generation_config.eos_token_id is None
    assert theirs.config.model_type == "arcee"


def test_the_readme_of_an_export_computes_the_scores_of_the_run(trained, exported, monkeypatch):
    code = (exported / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(exported)
    names = {}
    exec(code, names)
    rows, codes = json.loads((exported / "item_ids.json").read_text()), load_codes(trained)
    recommender = generative.load_recommender(load_config(trained), codes, trained)
    history = np.arange(5, 12)
    items, scores = recommender.recommend([history])
    found = [
        names["score"]([rows[item]["item"] for item in history], rows[item]["item"])
        for item in items[0, :4]
    ]
    np.testing.assert_allclose(found, scores[0, :4], atol=1e-4)


def test_legal_codes_share_all_probability_in_the_readme(trained, exported, monkeypatch):
    config = load_config(trained)
    config = dataclasses.replace(
        config, decode=dataclasses.replace(config.decode, normalize="legal")
    )
    text = readme(config, load_codes(trained), "AutoModelForCausalLM")
    monkeypatch.chdir(exported)
    names = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    items = list(names["ids"])
    shares = [np.exp(names["score"](items[5:8], item)) for item in items]
    assert sum(shares) == pytest.approx(1.0, abs=1e-4) and len(items) == 30


def test_the_hint_of_an_export_names_the_class_that_loads_the_head(llama, tmp_path, capsys):
    assert main(["export", str(llama[2]), "--out", str(tmp_path / "out")]) == 0
    hint = capsys.readouterr().out.strip().splitlines()[-1]
    assert hint == f"next: transformers.AutoModelForCausalLM.from_pretrained('{tmp_path}/out')"


def test_item_ids_become_tokens_and_survive_the_round_trip(trained, llama, tmp_path):
    theirs, tokenizer, directory = llama
    model, out = tmp_path / "model", tmp_path / "out"
    arguments = ["import-hf", str(directory), "--out", str(model), "--ids", str(trained / "ids")]
    assert main(arguments) == 0
    assert main(["export", str(model), "--out", str(out), "--shard-mb", "1"]) == 0
    back = transformers.AutoTokenizer.from_pretrained(out)
    codes = ItemCodes.load(trained / "ids")
    first = len(tokenizer)
    text = "watch <a_1><b_0> next"
    found = back(text)["input_ids"]
    assert first + 1 in found and first + codes.sizes[0] in found
    assert back.decode(found) == text
    # Embeddings of the text tokens are untouched, those of the IDs new and distinct.
    again = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    rows = again.get_input_embeddings().weight.detach().numpy()
    old = theirs.get_input_embeddings().weight.detach().numpy()
    assert len(rows) == first + sum(codes.sizes)
    np.testing.assert_array_equal(rows[:first], old)
    np.testing.assert_allclose(rows[first:].mean(0), old.mean(0), atol=0.02)
    assert len(np.unique(rows[first:], axis=0)) == sum(codes.sizes)
    # And ours says of the same text what theirs says.
    ours = load_model(model)
    tokens = jnp.asarray([found], jnp.int32)
    logits = jax.jit(ours.spec.build().apply)(ours.params, tokens, tokens >= 0)
    with torch.no_grad():
        expected = again(torch.tensor([found])).logits.numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def _fails(arguments, capsys, code, *words):
    assert main(arguments) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert all(word in last for word in words), last


def test_errors_name_what_is_wrong_before_any_work(trained, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    full = str(tmp_path / "full")
    _fails(["export", str(trained), "--out", full], capsys, 2, "full is in use")
    _fails(["import-hf", "nowhere", "--out", str(tmp_path / "o")], capsys, 3, "nowhere")
    _fails(
        ["export", str(trained), "--out", str(tmp_path / "o"), "--shard-mb", "0"], capsys, 2, "0"
    )
    bad = ["export", str(trained), "--out", str(tmp_path / "o"), "--family", "lama"]
    _fails(bad, capsys, 2, "'lama'", "llama")
    assert not (tmp_path / "o").exists()


def test_a_config_with_stretched_positions_is_written_and_read(tmp_path):
    import dataclasses

    from jaxrec.nn import RopeScaling

    config = tiny_config(tmp_path / "x.csv")
    scaling = RopeScaling(kind="linear", factor=2.0)
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, rope_scaling=scaling)
    )
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    assert from_dict(type(config), values, "") == config
