"""Scores of an encoder are those of the paper's procedure with transformers' BERT."""

import csv
import difflib
import gzip

import pytest

from jaxrec.capacity import (
    TASKS,
    MaskedModel,
    MaskedPair,
    StudyOptions,
    run_task,
    shared_places,
)
from jaxrec.core import ConfigError
from jaxrec.models import Opened, import_model
from jaxrec.prompting import ScriptedModel

WORDS = (
    *("he", "she", "the", "doctor", "nurse", "was", "kind", "very", "said"),
    *("a", "poor", "rich", "people", "are", ".", ",", "not", "to"),
)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A small random BERT of transformers, and ours with its weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = transformers.BertTokenizerFast(vocab=vocab)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocab),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        initializer_range=0.6,
    )
    theirs = transformers.BertForMaskedLM(config).eval()
    directory = tmp_path_factory.mktemp("bert")
    theirs.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    ours = MaskedModel.of(Opened(model=import_model(directory), tokenizer=tokenizer), "bert")
    return ours, theirs, tokenizer, directory


def by_hand(model, tokenizer, first, second):
    """Section 4 of the paper: equal spans of the token IDs, one mask at a time, CLS and SEP not."""
    import torch

    rows = [tokenizer(text, return_tensors="pt")["input_ids"][0] for text in (first, second)]
    spans = difflib.SequenceMatcher(None, *([str(x) for x in row.tolist()] for row in rows))
    places = ([], [])
    for kind, a, b, c, d in spans.get_opcodes():
        if kind == "equal":
            places[0].extend(range(a, b))
            places[1].extend(range(c, d))
    totals = []
    for row, chosen in zip(rows, places, strict=True):
        total = 0.0
        for place in chosen[1:-1]:
            masked = row.clone()
            masked[place] = tokenizer.mask_token_id
            with torch.no_grad():
                logs = model(masked[None]).logits[0, place].log_softmax(-1)
            total += float(logs[row[place]])
        totals.append(total)
    return totals


PAIRS = [
    ("the doctor said he was kind .", "the doctor said she was kind ."),
    ("poor people are not kind , he said", "rich people are not very kind , she said"),
    ("he was a nurse .", "he was a nurse ."),
    ("a poor doctor", "the rich people"),
]


def test_scores_are_those_of_the_procedure_with_transformers(bert):
    ours, theirs, tokenizer, _ = bert
    found = ours.score_shared(PAIRS)
    for pair, scores in zip(PAIRS, found, strict=True):
        assert list(scores) == pytest.approx(by_hand(theirs, tokenizer, *pair), abs=1e-4)
    assert found[2][0] == found[2][1]
    assert found[3] == (0.0, 0.0)


def test_the_task_counts_what_the_script_of_the_paper_counts(bert, real_data, tmp_path):
    ours, theirs, tokenizer, _ = bert
    path = real_data("crows-pairs") / "crows_pairs_anonymized.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # Half of the chosen pairs are anti-stereotypes; the model reads texts of up to 40 tokens.
    chosen = [
        row
        for side in ("stereo", "antistereo")
        for row in [r for r in rows if r["stereo_antistereo"] == side and len(r["sent_more"]) < 80][
            :6
        ]
    ]
    (tmp_path / "crows-pairs").mkdir()
    with open(tmp_path / "crows-pairs" / "crows_pairs_anonymized.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(chosen)
    stereo = neutral = 0
    for row in chosen:
        # The script orders the sentences by direction, and turns the comparison round again.
        sentences = (row["sent_more"], row["sent_less"])
        direct = row["stereo_antistereo"] == "stereo"
        first, second = sentences if direct else sentences[::-1]
        scores = [round(s, 3) for s in by_hand(theirs, tokenizer, first, second)]
        neutral += scores[0] == scores[1]
        stereo += scores[0] > scores[1] if direct else scores[1] > scores[0]
    found = run_task(ours, TASKS["crows_pairs_masked"], tmp_path, StudyOptions(resamples=10))
    assert found.estimates["pct_stereotype"].value == pytest.approx(100 * stereo / 12)
    assert found.estimates["pct_neutral"].value == pytest.approx(100 * neutral / 12)


def test_shared_places_are_the_equal_spans():
    assert shared_places([1, 2, 3], [1, 3]) == ([0, 2], [0, 1])
    assert shared_places([1], [2]) == ([], [])


def test_texts_that_are_too_long_are_named(bert):
    with pytest.raises(ConfigError, match=r"a text has 62 tokens, but bert reads 40"):
        bert[0].score_shared([("he " * 60, "she")])


def test_a_model_that_continues_texts_masks_nothing():
    with pytest.raises(ConfigError, match="for a model that continues texts choose crows_pairs"):
        MaskedPair.ask(ScriptedModel(), [MaskedPair("a", "b")])


def test_a_model_without_a_tokenizer_is_refused(bert):
    *_, directory = bert
    with pytest.raises(ConfigError, match="has no tokenizer with a mask token"):
        MaskedModel.of(Opened(model=import_model(directory)), "bare")
