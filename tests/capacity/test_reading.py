"""Texts of WikiText are cut and joined as in lm-eval; words and bytes are those of the file."""

import gzip
import importlib.util
import warnings
from pathlib import Path

import pytest

from jaxrec.capacity import TASKS, join_wikitext, last_words, text_values, wikitext_pages
from jaxrec.prompting import TextScore


def test_pages_make_up_the_file(real_data):
    text = gzip.decompress((real_data("wikitext-2") / "test.txt.gz").read_bytes()).decode()
    pages = wikitext_pages(text)
    # The test part has 60 articles (Merity et al., table 1).
    assert len(pages) == 60
    assert "".join(pages) == text[text.index(" = Robert") :]
    assert all(page.startswith(" = ") for page in pages)


def test_pages_are_joined_as_lm_eval_joins_them(real_data):
    warnings.simplefilter("ignore")
    lm_eval = pytest.importorskip("lm_eval")
    path = Path(lm_eval.__file__).parent / "tasks" / "wikitext" / "preprocess_wikitext.py"
    spec = importlib.util.spec_from_file_location("preprocess_wikitext", path)
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    text = gzip.decompress((real_data("wikitext-2") / "test.txt.gz").read_bytes()).decode()
    for page in wikitext_pages(text):
        assert join_wikitext(page) == theirs.wikitext_detokenizer({"page": page})


def test_perplexities_divide_by_the_units_of_the_file():
    score = TextScore(logprobs=(-1.0, -2.0, -3.0))
    assert text_values("é is\n two", score) == {
        "token_perplexity": (-6.0, 3.0),
        "word_perplexity": (-6.0, 3.0),
        "byte_perplexity": (-6.0, 10.0),
        "bits_per_byte": (-6.0, 10.0),
    }
    values = TASKS["wikitext2"].measure({"text": "a @-@ b"}, score)
    # Joined, the text is one word; the file has three.
    assert values["word_perplexity"] == (-6.0, 3.0)


def test_the_last_word_is_a_word():
    long = "one two three four five six seven eight nine ten"
    lines = {
        f"{long} eleven .": "eleven",
        f"{long} co-operate!": "co-operate",
        f"{long} the <unk> .": None,
        "one two three .": None,
        f" = {long} = ": None,
    }
    for line, word in lines.items():
        found = [row["word"] for row in last_words(line)]
        assert found == ([] if word is None else [word]), line
