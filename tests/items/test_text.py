"""Item texts as vectors: which encoder is taken, what a run keeps of it, what each gives."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.data import ItemTable, leave_one_out
from jaxrec.data.dataset import Dataset, load_dataset
from jaxrec.ids import item_vectors, pq, reduced_vectors, text_vectors
from jaxrec.items import ids as item_ids, text as item_text
from jaxrec.items.config import IdConfig
from jaxrec.models import SentenceEncoder
from jaxrec.systems.generative import recommender as generative, text_encoders
from jaxrec.systems.generative.config import load_config
from jaxrec.testing import tiny_config, tiny_interactions, write_tiny_csv, write_tiny_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(autouse=True)
def no_other_encoder(monkeypatch, tmp_path):
    """Nothing that happens to be installed takes part."""
    monkeypatch.delenv("JAXREC_TEXT_ENCODER", raising=False)
    monkeypatch.setenv("JAXREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("jaxrec.models.sentences.PACKAGE", "no_such_package")


@pytest.fixture
def config(tmp_path, encoder):
    found = tiny_config(write_tiny_csv(tmp_path))
    return dataclasses.replace(found, ids=dataclasses.replace(found.ids, text_encoder=str(encoder)))


def a_dataset(empty=()):
    data = tiny_interactions()
    fields = {name: column.copy() for name, column in data.items.fields.items()}
    for column in fields.values():
        column[list(empty)] = ""
    data = dataclasses.replace(data, items=ItemTable(data.items.ids, fields))
    return Dataset(data, leave_one_out(data))


def test_auto_is_tf_idf_unless_an_encoder_is_at_hand(encoder, monkeypatch):
    assert item_text.choose(IdConfig(text_encoder="auto")) is None
    assert item_text.choose(IdConfig(text_encoder=str(encoder))) == encoder
    monkeypatch.setenv("JAXREC_TEXT_ENCODER", str(encoder))
    assert item_text.choose(IdConfig(text_encoder="auto")) == encoder
    assert item_text.choose(IdConfig(text_encoder="tfidf")) is None
    assert IdConfig().text_encoder == "auto"


def test_a_bad_encoder_is_named_before_any_work(config, tmp_path, monkeypatch):
    def work(*_):
        raise AssertionError("work was done")

    monkeypatch.setattr(generative, "check_batch", work)
    monkeypatch.setattr(item_text, "text_vectors", work)
    dataset = a_dataset()
    for setting, words in [
        ("tfid", r"ids\.text_encoder is 'tfid', .* did you mean 'tfidf'"),
        (str(tmp_path / "gone"), "gone', which is not a directory"),
        (str(tmp_path), r"neither config\.json nor modules\.json"),
    ]:
        ids = dataclasses.replace(config.ids, text_encoder=setting)
        with pytest.raises(ConfigError, match=words):
            generative.open_run(dataclasses.replace(config, ids=ids), dataset, tmp_path / "run")
    monkeypatch.setenv("JAXREC_TEXT_ENCODER", str(tmp_path / "gone"))
    ids = dataclasses.replace(config.ids, text_encoder="auto")
    with pytest.raises(ConfigError, match=r"JAXREC_TEXT_ENCODER names .*gone"):
        generative.open_run(dataclasses.replace(config, ids=ids), dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sentence_vectors_take_the_place_of_tf_idf(encoder):
    dataset = a_dataset(empty=[3])
    config = IdConfig(levels=2, size=8, dim=8, text_fields=("title", "genres"))
    texts = dataset.interactions.items.text("title", "genres")
    sentences = SentenceEncoder.load(encoder).encode(texts)
    sentences[3] = 0
    found = item_text.read(config, dataset, encoder)
    np.testing.assert_allclose(found.vectors, reduced_vectors(sentences, 8), atol=1e-5)
    assert not found.vectors[3].any()
    place = "/".join(encoder.resolve().parts[-2:])
    assert found.facts["encoder"] == place
    assert (found.facts["width"], found.facts["encoder_width"]) == (8, 32)
    assert found.facts["without_text"] == 1
    assert "warning: items without text: 1; " in item_text.describe({"text": found.facts})
    plain = item_text.read(config, dataset, None)
    np.testing.assert_array_equal(plain.vectors, text_vectors(texts, 8))
    train = dataset.split.train.sequences()
    vectors = item_vectors(found.vectors, train, 30, 8, window=10, decay=0.9)
    codes = item_ids.fit_ids(dataclasses.replace(config, text_encoder=str(encoder)), dataset)
    centroids = pq.fit(vectors, 2, 8).codebooks
    for name, array in centroids.items():
        np.testing.assert_allclose(codes.codebooks[name], array, atol=1e-5)
    assert codes.metadata["text"] == found.facts


@pytest.mark.parametrize(
    "change",
    [
        {"text_weight": 0.0, "text_fields": ("absent",)},
        {"scheme": "random", "text_fields": ("absent",)},
        {"text_fields": ()},
    ],
)
def test_ids_without_texts_need_no_encoder(tmp_path, change):
    config = dataclasses.replace(IdConfig(size=8, dim=8, text_encoder=str(tmp_path)), **change)
    dataset = a_dataset()
    assert item_text.read(config, dataset, tmp_path) is None
    codes = item_ids.fit_ids(dataclasses.replace(config, text_encoder="tfidf"), dataset)
    assert codes.metadata["text"] is None
    assert item_text.describe(codes.metadata) == "item texts: not used by the IDs"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (("titel",), "names 'titel', .* do not have, did you mean 'title'"),
        (("title", "plot"), "names 'plot', a field .*; their fields: title, year, genres"),
        (
            ("title", "categories"),
            "names 'categories'",
        ),  # in the default, but named
        (IdConfig.text_fields, None),
    ],
)
def test_text_fields_that_a_user_names_must_exist(fields, said):
    dataset = a_dataset()
    config = IdConfig(levels=2, size=8, dim=8, text_encoder="tfidf", text_fields=fields)
    if said is None:
        assert item_text.fields_used(config, dataset) == ["title", "year", "genres"]
        item_ids.check_ids(config, dataset)
        return
    with pytest.raises(ConfigError, match=said):
        item_ids.check_ids(config, dataset)


def test_a_run_keeps_what_it_used_without_the_encoder(config, tmp_path, encoder):
    gone = tmp_path / "gone"
    shutil.copytree(encoder, gone)
    config = dataclasses.replace(
        config, ids=dataclasses.replace(config.ids, text_encoder=str(gone))
    )
    dataset, directory = load_dataset(config.data), tmp_path / "run"
    codes = generative.open_run(config, dataset, directory)
    facts = codes.metadata["text"]
    assert f"{tmp_path.name}/gone, 32 wide, reduced to 8" in item_text.describe(codes.metadata)
    vectors = item_text.read(config.ids, dataset, gone).vectors
    shutil.rmtree(gone)
    again = generative.open_run(config, dataset, directory)
    assert again.metadata["text"] == facts
    np.testing.assert_array_equal(item_text.load(facts, directory).vectors, vectors)
    rows = text_encoders.compare(config, dataset, again, directory)["rows"]
    assert [row["used"] for row in rows] == [False, True]
    (directory / "ids" / "text_vectors.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"text_vectors\.npy cannot be read"):
        text_encoders.compare(config, dataset, again, directory)


def test_every_encoder_at_hand_is_measured(config, tmp_path, encoder, monkeypatch):
    config = dataclasses.replace(
        config, ids=dataclasses.replace(config.ids, text_encoder="tfidf", repair="suffix")
    )
    dataset, directory = load_dataset(config.data), tmp_path / "run"
    codes = generative.open_run(config, dataset, directory)
    alone = text_encoders.compare(config, dataset, codes, directory)
    assert [row["encoder"] for row in alone["rows"]] == ["TF-IDF"]
    monkeypatch.setenv("JAXREC_TEXT_ENCODER", str(encoder))
    found = text_encoders.compare(config, dataset, codes, directory)
    plain, sentences = found["rows"]
    assert plain == alone["rows"][0]
    assert (plain["used"], sentences["used"]) == (True, False)
    assert plain["moved"] == codes.metadata["repair"]["moved"] > 0
    # The same IDs as those of a run that uses the encoder.
    ids = dataclasses.replace(config.ids, text_encoder="auto")
    other = item_ids.fit_ids(ids, dataset)
    assert sentences["moved"] == other.metadata["repair"]["moved"] > 0
    for row in (plain, sentences):
        assert row["interval"][0] <= row["value"] <= row["interval"][1]
    json.dumps(found)
    # Random lists of 10 of what a user has not seen.
    left = [30 - len(items) for items in dataset.split.history("valid")]
    assert found["chance"] == pytest.approx(np.mean([10 / n for n in left]))


def test_the_hit_rate_of_nearest_texts_equals_scikit_learns():
    from sklearn.metrics import top_k_accuracy_score
    from sklearn.metrics.pairwise import cosine_similarity

    dataset = a_dataset()
    vectors = np.random.default_rng(0).normal(size=(30, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    histories, targets = dataset.split.history("valid"), dataset.split.target("valid")
    scores = cosine_similarity(vectors[[items[-1] for items in histories]], vectors)
    for row, items in zip(scores, histories, strict=True):
        row[items] = -2
    expected = top_k_accuracy_score(targets, scores, k=10, labels=np.arange(30))
    found = text_encoders.nearest_neighbours(vectors.astype(np.float32), dataset)
    assert found.shape == (40,)
    assert found.mean() == pytest.approx(expected)
    assert 0.2 < expected < 0.8


def test_items_without_text_are_tied_not_ranked_by_number():
    dataset = a_dataset()
    found = text_encoders.nearest_neighbours(np.zeros((30, 4), np.float32), dataset)
    # All unseen items tie at a middle rank, (n - 1) / 2: the 10th place or later for n > 20.
    left = np.array([30 - len(items) for items in dataset.split.history("valid")])
    np.testing.assert_array_equal(found, (left - 1) / 2 < 10)


def test_a_run_that_does_not_say_its_encoder_still_loads(config, tmp_path):
    config = dataclasses.replace(config, ids=dataclasses.replace(config.ids, text_encoder="auto"))
    dataset, directory = load_dataset(config.data), tmp_path / "run"
    codes = generative.open_run(config, dataset, directory)
    # As a version without text encoders wrote it.
    old = {name: value for name, value in codes.metadata.items() if name != "text"}
    dataclasses.replace(codes, metadata=old).save(directory / "ids")
    (directory / "ids" / "text_vectors.npy").unlink()
    facts = json.loads((directory / "env.json").read_text())
    del facts["files"]
    (directory / "env.json").write_text(json.dumps(facts))
    settings = json.loads((directory / "config.json").read_text())
    del settings["ids"]["text_encoder"], settings["eval"]["text_encoders"]
    (directory / "config.json").write_text(json.dumps(settings))
    assert load_config(directory).ids == config.ids
    config = dataclasses.replace(config, eval=load_config(directory).eval)
    codes = generative.open_run(config, dataset, directory)
    assert "does not record" in item_text.describe(codes.metadata)
    rows = text_encoders.compare(config, dataset, codes, directory)["rows"]
    assert [(row["encoder"], row["used"]) for row in rows] == [("TF-IDF", None)]


def test_commands_say_which_encoder_was_used_and_what_each_gives(config, tmp_path, encoder, capsys):
    file, directory = tmp_path / "config.py", tmp_path / "run"
    path = tmp_path / "interactions.csv"
    file.write_text(
        "from jaxrec.testing import tiny_config\n"
        f"def get_config():\n    return tiny_config({str(path)!r})\n"
    )
    options = ["--ids.text-encoder", str(encoder), "--eval.text-encoders"]
    where = ["--run-dir", str(directory)]
    assert main(["ids", str(file), *where, *options]) == 0
    name = "/".join(encoder.resolve().parts[-2:])
    line = f"item texts: encoded by {name}, 32 wide, reduced to 8"
    assert line in capsys.readouterr().out
    assert main(["train", str(file), *where, *options]) == 0
    assert line in capsys.readouterr().out
    assert main(["eval", str(directory), "--no-baselines"]) == 0
    output = capsys.readouterr().out
    assert line in output
    rows = json.loads((directory / "eval.json").read_text())["text_encoders"]["rows"]
    assert [(row["encoder"], row["used"]) for row in rows] == [("TF-IDF", False), (name, True)]
    for row in rows:
        assert f"  {row['encoder']}: hr@10 {row['value']:.4f} [" in output
    assert main(["report", str(directory)]) == 0
    page = (directory / "report.html").read_text()
    assert f"encoded by {name} as vectors of sentences, 32 wide" in page
    assert "No sentence encoder" not in page


@pytest.mark.parametrize("scheme", ["pq", "rq"])
@pytest.mark.parametrize("sentences", [False, True], ids=["tfidf", "encoder"])
def test_new_items_are_coded_by_their_texts(encoder, scheme, sentences):
    dataset, directory = a_dataset(), encoder if sentences else None
    config = IdConfig(
        scheme=scheme,
        levels=2,
        size=8,
        dim=8,
        text_fields=("title", "genres"),
        text_weight=1.0,
        text_encoder=str(encoder) if sentences else "tfidf",
        repair="suffix",
    )
    text = item_text.read(config, dataset, directory)
    codes = item_ids.fit_ids(config, dataset, text)
    texts = dataset.interactions.items.text("title", "genres")
    group = codes.codes[:, :-1].tolist()
    # Of an item that shares its codes with the fewest others, so that there is a suffix left.
    twin = min(range(30), key=lambda item: group.count(group[item]))
    new = item_ids.new_item_codes(config, dataset, codes, [texts[twin], "nothing known"], text)
    assert new[0, :-1].tolist() == group[twin]
    assert new.tolist()[0] not in codes.codes.tolist()
    assert len({tuple(row) for row in [*codes.codes.tolist(), *new.tolist()]}) == 32
    moved = dataclasses.replace(text, vectors=-text.vectors)
    with pytest.raises(DataError, match="does not give the item vectors that the IDs were made of"):
        item_ids.new_item_codes(config, dataset, codes, ["x"], moved)
    with pytest.raises(ConfigError, match="'random' does not code item texts"):
        other = dataclasses.replace(config, scheme="random")
        item_ids.new_item_codes(other, dataset, codes, ["x"], text)


def test_texts_at_full_width_have_unit_rows_and_none_without_words(tmp_path):
    directory = write_tiny_encoder(tmp_path / "encoder")
    texts = ["Toy Story", " ", "Heat"]
    whole = SentenceEncoder.load(directory).encode(texts)
    found = item_text.encode(texts, directory)
    assert found.shape == whole.shape
    assert (found[1] == 0).all()
    for row in (0, 2):
        np.testing.assert_allclose(found[row], whole[row] / np.linalg.norm(whole[row]), atol=1e-6)
    plain = item_text.encode(texts, None, dim=2)
    assert plain.shape == (3, 2) and (plain[1] == 0).all()
