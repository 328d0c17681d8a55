"""Small data sets and tokenizers for the tests of this folder."""

import gzip
import shutil

import pytest

from jaxrec.data import Interactions, add_id_tokens, save_tokenizer, train_bpe, train_unigram

TRAINING_TEXTS = [
    "The silence of the lambs, 1991",
    "Toy Story (1995)",
    "the lambs of the story",
] * 4


@pytest.fixture
def small() -> Interactions:
    """Return three users, four items, ties in time, texts for three of the items."""
    return Interactions.from_columns(
        user=["b", "a", "a", "c", "a", "b", "c", "c", "b", "a"],
        item=[10, 2, 9, 10, 10, 2, 2, 9, 30, 30],
        time=[5, 7, 3, 1, 7, 5, 1, 1, 2, 9],
        rating=[1, 2, 3, 4, 5, 1, 2, 3, 4, 5],
        items={
            2: {"title": "Two", "year": "1992"},
            9: {"title": "Nine", "genres": "Drama | War"},
            10: {"title": "Ten"},
        },
        users={"a": {"age": "30"}},
        name="small",
        source="test",
    )


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file below tmp_path (gzipped if it is called .gz)."""

    def write(name: str, text: str | bytes):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = text.encode() if isinstance(text, str) else text
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path

    return write


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory):
    """Trained tokenizers with ID tokens, as AutoTokenizer reads them back."""
    from transformers import AutoTokenizer

    tokenizers = {}
    for name, train in {"bpe": train_bpe, "unigram": train_unigram}.items():
        tokenizer = train(TRAINING_TEXTS, 400)
        add_id_tokens(tokenizer, (4, 3, 5))
        directory = tmp_path_factory.mktemp(name)
        save_tokenizer(tokenizer, directory)
        tokenizers[name] = AutoTokenizer.from_pretrained(directory)
    return tokenizers


@pytest.fixture
def gpt2(real_data, tmp_path):
    """A directory with GPT-2's own two files and nothing else."""
    (tmp_path / "gpt2").mkdir()
    for ours, name in {"gpt2_encoder.json": "vocab.json", "gpt2_vocab.bpe": "merges.txt"}.items():
        shutil.copyfile(real_data("tokenizers") / ours, tmp_path / "gpt2" / name)
    return tmp_path / "gpt2"


@pytest.fixture
def t5(real_data, tmp_path):
    """A directory with T5's own SentencePiece model and nothing else."""
    (tmp_path / "t5").mkdir()
    shutil.copyfile(real_data("tokenizers") / "t5_spiece.model", tmp_path / "t5" / "spiece.model")
    return tmp_path / "t5"
