"""Skill extraction as a system: labels, rows, losses, students, spans with chances, bad input."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.data import Span, TaggedText, word_places
from jaxrec.models import SentenceEncoder
from jaxrec.runs import Options, load_run, make_sweep, offered, run_sweep
from jaxrec.systems.skills import (
    DistantConfig,
    SkillDataConfig,
    SkillLossConfig,
    SkillsConfig,
    SkillsEvalConfig,
    StudentConfig,
    TaggerConfig,
)
from jaxrec.systems.skills.data import (
    TAGS,
    label_texts,
    load_texts,
    make_lexicons,
    matched_spans,
    open_cut_spans,
    spans_of_numbers,
)
from jaxrec.systems.skills.network import begin, make_loss, make_tagger, predict, score
from jaxrec.systems.skills.opened import Opened
from jaxrec.systems.skills.rows import make_rows
from jaxrec.systems.skills.run import evaluate, tag, train
from jaxrec.systems.skills.students import correct
from jaxrec.testing import write_tiny_encoder
from jaxrec.train import TrainConfig

KINDS = ("skill", "knowledge")


def write_texts(path, count, seed):
    """Texts whose spans are known words: "x y" is a skill, and y alone in it is knowledge."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        words, skill, knowledge = [], [], []
        for _ in range(int(rng.integers(2, 5))):
            if rng.random() < 0.4:
                words += ["x", str(rng.choice(["y", "yy"]))]
                skill += ["B", "I"]
                knowledge += ["O", "B"]
            else:
                words.append("".join(rng.choice(list("abcd"), 2)))
                skill.append("O")
                knowledge.append("O")
        rows.append({"tokens": words, "tags_skill": skill, "tags_knowledge": knowledge})
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skills")
    write_tiny_encoder(folder / "encoder", max_length=24)
    write_texts(folder / "train.json", 160, 0)
    write_texts(folder / "test.json", 30, 1)
    return folder


@pytest.fixture(scope="module")
def cache(place):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXREC_CACHE", str(place / "cache"))
        yield


def tiny(place, **changed):
    settings = {
        "data": SkillDataConfig(
            name="planted",
            train=str(place / "train.json"),
            test=str(place / "test.json"),
            valid=0.2,
        ),
        "tagger": TaggerConfig(
            encoder=str(place / "encoder"), layers=1, max_length=16, buckets=2, dropout=0.0
        ),
        "train": TrainConfig(
            steps=30, batch_size=8, lr=5e-3, warmup_steps=0, eval_every=15, log_every=15
        ),
        "eval": SkillsEvalConfig(batch_size=8, resamples=20),
    }
    return SkillsConfig(**settings | changed)


@pytest.fixture(scope="module")
def trained(place, cache):
    """A run with a teacher and a student on distant labels."""
    config = tiny(
        place,
        distant=DistantConfig(coverage=1.0, partial=2, unmatched="unknown"),
        loss=SkillLossConfig(ratio=1.0, shares=(0.4, 0.2), contrast=0.1),
        student=StudentConfig(rounds=1, steps=50, threshold=0.8, lr=1e-3),
        train=TrainConfig(
            steps=200, batch_size=8, lr=1e-2, warmup_steps=0, eval_every=100, log_every=50
        ),
    )
    config = dataclasses.replace(config, tagger=dataclasses.replace(config.tagger, buckets=1))
    train(config, place / "run", Options())
    return place / "run"


def opened(place, config):
    encoder = SentenceEncoder.load(place / "encoder")
    tagger, upper = make_tagger(config, encoder.model)
    return encoder, tagger, begin(tagger, upper, 0)


def rows_of(place, config, encoder, words):
    return make_rows(
        encoder,
        place / "encoder",
        words,
        layers=config.tagger.layers,
        max_length=config.tagger.max_length,
        buckets=config.tagger.buckets,
    )


def test_the_parts_share_no_text_and_repeats_are_counted(place):
    texts = load_texts(tiny(place).data)
    parts = [{text.words for text in part} for part in texts.parts.values()]
    assert all(not a & b for a, b in itertools.combinations(parts, 2))
    assert len(texts.parts["train"]) + len(texts.parts["valid"]) + texts.dropped == 160
    assert len(texts.parts["test"]) == 30


def test_distant_labels_are_those_of_the_lexicon_and_gold_ones_those_of_the_spans(place):
    text = TaggedText(("x", "y", "ab"), (Span(0, 2, "skill"), Span(1, 2, "knowledge")))
    (gold,) = label_texts(KINDS, [text])
    b, e, s, o = 1, 3, 4, 0
    assert gold.shape == (3, 2, 5) and gold.sum() == 6
    assert gold[:, 0].argmax(axis=1).tolist() == [b, e, o]
    assert gold[:, 1].argmax(axis=1).tolist() == [o, s, o]
    config = tiny(place, distant=DistantConfig(coverage=1.0, unmatched="unknown"))
    lexicons = make_lexicons(config, [text])
    assert matched_spans(lexicons, [text]) == [text.spans]
    (distant,) = label_texts(KINDS, [text], lexicons, config.distant)
    assert distant.sum(axis=2).tolist() == [[1, 5], [1, 1], [5, 5]]
    with pytest.raises(ConfigError, match="the lexicon of skill is empty"):
        make_lexicons(tiny(place, distant=DistantConfig(coverage=0.1)), [text])


@pytest.mark.slow
def test_rows_hold_the_states_of_the_encoder_whatever_their_padding(place, cache):
    config = tiny(place)
    encoder = SentenceEncoder.load(place / "encoder")
    words = [["abc", "x"], ["x"] * 20, ["yy"]]
    rows = rows_of(place, config, encoder, words)
    assert len(rows) == 4 and rows.lengths[-1] == 16  # the second text needs two rows
    full = dataclasses.replace(config.tagger, layers=2)
    again = rows_of(place, dataclasses.replace(config, tagger=full), encoder, words)
    assert again.states.shape == rows.states.shape and not np.allclose(again.states, rows.states)
    np.testing.assert_array_equal(rows_of(place, config, encoder, words).states, rows.states)
    # All layers from the top on, whatever the length of the batch, give what the encoder gives.
    _, tagger, variables = opened(place, config)
    tokens = rows.words.tokens[:1]
    whole = encoder.model.spec.build().apply(encoder.model.params, tokens, rows.words.valid[:1])
    for length in (8, 16):
        batch = {name: x[None] for name, x in rows.row(0, length, {}).items()}
        vectors = score(tagger, variables, batch).vectors
        np.testing.assert_allclose(vectors[0, :2], whole[0, rows.words.first[0, :2]], atol=1e-5)


def test_spans_that_a_row_cuts_become_unknown_and_others_stay():
    o, b, i, e, s = range(5)
    rows = [[i, e, o, b], [b, i, i, i], [s, b, e, o], [i, i, i, i], [o, o, b, b]]
    present = np.ones((5, 4), bool)
    present[4, 3] = False
    found = open_cut_spans(TAGS.allowed(np.array(rows))[:, :, None], present)[:, :, 0]
    everything = found.all(axis=2).astype(int).tolist()
    assert everything == [[1, 1, 0, 1], [1, 1, 1, 1], [0] * 4, [1] * 4, [0, 0, 1, 0]]
    assert (found[2].argmax(axis=1) == rows[2]).all()


def test_an_epoch_has_every_row_once(place, cache):
    config = tiny(place)
    encoder = SentenceEncoder.load(place / "encoder")
    words = [["ab"] * n for n in (1, 2, 3, 4, 5, 6, 1, 1)]
    rows = rows_of(place, config, encoder, words)
    numbers = np.arange(len(rows))[:, None] + np.zeros((1, 6), int)
    batches = iter(rows.batches({"row": numbers}, batch_size=2, seed=0))
    shapes = {b["states"].shape for b in rows.examples({"row": numbers}, 2)}
    seen = []
    for _ in range(40):
        batch = next(batches)
        assert batch["states"].shape in shapes
        seen += batch["row"][:, 0].tolist()
    counts = np.bincount(seen)
    assert len(counts) == len(rows) and counts.max() - counts.min() <= 2
    covered = [n for chosen, _ in rows.in_order(2) for n in chosen.tolist()]
    assert sorted(covered) == list(range(len(rows)))


def batch_of(place, config):
    texts = load_texts(config.data).parts["train"][:6]
    encoder, tagger, variables = opened(place, config)
    rows = rows_of(place, config, encoder, [text.words for text in texts])
    allowed = rows.words.spread(label_texts(KINDS, texts), True)
    batch = [rows.row(n, 16, {"allowed": allowed}) for n in range(len(rows))]
    return tagger, variables, {k: np.stack([row[k] for row in batch]) for k in batch[0]}


@pytest.mark.slow
def test_without_a_crf_the_loss_is_the_cross_entropy_of_words(place, cache):
    config = tiny(place)
    config = dataclasses.replace(config, tagger=dataclasses.replace(config.tagger, crf=False))
    tagger, variables, batch = batch_of(place, config)
    loss = make_loss(tagger, config.loss)(variables, batch, None)
    logs = jax.nn.log_softmax(score(tagger, variables, batch).emissions)
    gold = jnp.moveaxis(batch["allowed"], 2, 0)
    expected = -jnp.where(gold & batch["present"][None, :, :, None], logs, 0.0).sum()
    np.testing.assert_allclose(loss.total, expected, rtol=1e-5)
    assert float(loss.weight) == batch["present"].sum()
    tags = np.asarray(predict(tagger, variables, batch))
    best = np.moveaxis(np.asarray(logs).argmax(axis=3), 0, 2)
    assert (tags[batch["present"]] == best[batch["present"]]).all()


@pytest.mark.slow
def test_with_a_crf_predictions_are_legal_and_terms_add_up(place, cache):
    config = tiny(place)
    tagger, variables, batch = batch_of(place, config)
    tags = np.asarray(predict(tagger, variables, batch))
    for row, present in zip(tags, batch["present"], strict=True):
        for kind in range(2):
            assert spans_of_numbers(row[present, kind], "k")[1] == 0
    plain = make_loss(tagger, SkillLossConfig())(variables, batch, None)
    more = make_loss(tagger, SkillLossConfig(ratio=2.0, contrast=3.0))(variables, batch, None)
    parts = {name: float(value) for name, value in more.parts.items()}
    np.testing.assert_allclose(parts["labels"], plain.total, rtol=1e-6)
    expected = parts["labels"] + 2 * parts["ratio"] + 3 * parts["contrast"]
    np.testing.assert_allclose(more.total, expected, rtol=1e-6)
    assert parts["ratio"] > 0 and parts["contrast"] > 0


def test_a_teacher_replaces_labels_unless_no_legal_sequence_is_left():
    b, e = 1, 3
    allowed = np.zeros((2, 2, 1, 5), bool)
    allowed[..., 0] = True
    chances = np.full((2, 2, 1, 5), 0.01, np.float32)
    chances[0, 0, 0, b] = chances[0, 1, 0, e] = 0.96
    chances[1, 0, 0, b] = chances[1, 1, 0, 0] = 0.96  # B without an end
    present = np.ones((2, 2), bool)
    found = correct(StudentConfig(rounds=1, threshold=0.9), allowed, chances, present)
    assert found.allowed[0, :, 0].argmax(axis=1).tolist() == [b, e]
    assert (found.allowed[1] == allowed[1]).all()
    assert (found.replaced, found.kept) == (2, 1) and found.sure.all()
    np.testing.assert_allclose(found.soft.sum(axis=3), 1.0, rtol=1e-5)
    padded = np.array([[True, True], [True, False]])
    again = correct(StudentConfig(rounds=1, threshold=0.9), allowed, chances, padded)
    assert again.share == 1.0 and again.sure.sum() == 3  # padding counts in neither
    unknown = correct(
        StudentConfig(rounds=1, threshold=0.9, replace="unknown"), allowed, chances, present
    )
    assert unknown.allowed.sum(axis=3)[..., 0].tolist() == [[5, 5], [5, 1]]


@pytest.mark.slow
def test_a_run_on_distant_labels_with_a_student_learns_the_planted_spans(trained):
    config = load_run(trained)
    report = evaluate(config, trained, baselines=())
    metrics = report["rows"]["model"]["metrics"]
    assert report["rows"]["lexicon alone"]["metrics"]["f1"] == 1.0
    assert metrics["f1"] > 0.8
    np.testing.assert_allclose(np.mean(report["values"]["f1"]), metrics["f1"])
    assert (trained / "teacher-0" / "checkpoints").is_dir()
    for name, (low, high) in report["rows"]["model"]["intervals"].items():
        assert low <= metrics[name] <= high


@pytest.mark.slow
def test_spans_of_plain_texts_have_their_place_and_their_exact_chance(trained, place):
    config = load_run(trained)
    texts = ["ab  x y!", " ", "x yy cd"]
    found = tag(config, trained, texts)
    assert found[1] == [] and {span.kind for span in found[0]} <= set(KINDS)
    for text, spans in zip(texts, found, strict=True):
        assert all(text[span.start : span.end] == span.text for span in spans)
    (skill,) = [span for span in found[0] if span.kind == "skill"]
    assert skill.text == "x y"
    # The sum over all sequences that have this span, by enumeration.
    system = Opened.of(config)
    variables = system.trained(config, trained)
    words = [texts[0][a:b] for a, b in word_places(texts[0])]
    rows = system.rows(config, [words])
    batch = {name: x[None] for name, x in rows.row(0, 16, {}).items()}
    scores = score(system.tagger, variables, batch)
    emissions = np.asarray(scores.emissions[0, 0, : len(words)], np.float64)
    a, s, e = (np.asarray(x[0], np.float64) for x in dataclasses.astuple(scores.crf))
    total = wanted = 0.0
    for path in itertools.product(range(5), repeat=len(words)):
        value = s[path[0]] + e[path[-1]] + sum(emissions[t, c] for t, c in enumerate(path))
        value = np.exp(value + sum(a[x, y] for x, y in itertools.pairwise(path)))
        total += value
        wanted += value if path[1:3] == (1, 3) else 0.0
    np.testing.assert_allclose(skill.probability, wanted / total, rtol=1e-4)
    with pytest.raises(DataError, match="no text has a word"):
        tag(config, trained, ["", " "])


@pytest.mark.slow
def test_the_command_tags_a_file_and_ends_with_counts(trained, tmp_path, capsys):
    file = tmp_path / "texts.txt"
    file.write_text("x y ab\n\nab cd\n")
    out = tmp_path / "spans.jsonl"
    assert main(["skills", str(trained), str(file), "--out", str(out)]) == 0
    counts = json.loads(capsys.readouterr().out.splitlines()[-1])
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["text"] for record in records] == ["x y ab", "ab cd"]
    assert counts["texts"] == 2 and counts["spans"] == sum(len(r["spans"]) for r in records) > 0
    assert main(["skills", str(trained), str(file), "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    rows = tmp_path / "texts.jsonl"
    rows.write_text('{"text": "x y"}\n{"title": "z"}\n')
    assert main(["skills", str(trained), str(rows)]) == 3
    assert "record 2 has no text" in capsys.readouterr().err
    file.write_text("\n \n")
    assert main(["skills", str(trained), str(file)]) == 3
    assert "holds no texts" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_tests_its_variants_by_text(place, cache):
    config = tiny(place)
    short = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=2))
    words = dataclasses.replace(short, tagger=dataclasses.replace(short.tagger, crf=False))
    report = run_sweep(make_sweep({"crf": short, "words": words}), place / "sweep", [0])
    assert [row["name"] for row in report["rows"]] == ["crf", "words"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DistantConfig(partial=2), "coverage is 0, so gold labels are used"),
        (lambda: SkillsConfig(student=StudentConfig(threshold=0.5)), "rounds is 0"),
        (lambda: SkillsConfig(loss=SkillLossConfig(shares=(0.1,) * 3)), "has 3 numbers"),
        (lambda: SkillDataConfig(kinds=("a", "a")), "different names"),
        (lambda: SkillDataConfig(valid=0.0), "so that both parts have texts"),
        (
            lambda: SkillsConfig(distant=DistantConfig(coverage=0.5, lexicons=("a",))),
            "give one for each of 2 kinds",
        ),
    ],
)
def test_settings_that_would_be_ignored_are_errors(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_missing_encoders_and_kinds_are_errors_before_any_work(place, tmp_path, monkeypatch):
    config = tiny(place)
    monkeypatch.delenv("JAXREC_TEXT_ENCODER", raising=False)
    monkeypatch.setattr("jaxrec.systems.skills.opened.find_sentence_encoder", lambda: None)
    bare = dataclasses.replace(config, tagger=dataclasses.replace(config.tagger, encoder=""))
    with pytest.raises(ConfigError, match="there is no text encoder"):
        train(bare, tmp_path / "run", Options())
    rows = [{"tokens": ["a"], "tags_skill": ["O"], "tags_knowledge": ["O"]}] * 3
    (tmp_path / "none.json").write_text("\n".join(json.dumps(row) for row in rows))
    empty = dataclasses.replace(config.data, test=str(tmp_path / "none.json"))
    with pytest.raises(DataError, match="the part test has no spans of the kind skill"):
        load_texts(empty)
    assert not (tmp_path / "run").exists()
    assert offered(config, "tag") is tag


def test_lexicons_may_come_from_files_and_frequent_phrases_are_uncertain(place, tmp_path):
    files = []
    for kind, lines in (("skill", "x y\nx yy\nab\tK1\n"), ("knowledge", "yy\n")):
        (tmp_path / f"{kind}.txt").write_text(lines)
        files.append(str(tmp_path / f"{kind}.txt"))
    texts = [TaggedText(tuple(words.split())) for words in ("ab x y", "x y yy", "x yy x y")]
    distant = DistantConfig(coverage=1.0, lexicons=tuple(files), max_count=2)
    skill, knowledge = make_lexicons(tiny(place, distant=distant), texts)
    assert skill.certain == {("x", "yy"), ("ab",)} and skill.uncertain == {("x", "y")}
    assert knowledge.certain == {("yy",)}
    known = dataclasses.replace(distant, uncertain="outside")
    assert not make_lexicons(tiny(place, distant=known), texts)[0].uncertain
    (tmp_path / "skill.txt").write_text("\n")
    with pytest.raises(DataError, match=r"skill\.txt holds no skills"):
        make_lexicons(tiny(place, distant=distant), texts)


def test_texts_may_come_in_columns(tmp_path):
    for part, word in (("train", "a"), ("test", "b")):
        lines = [f"{word}{n}\tO\nx\tB-Skill\ny\tI-Skill\n" for n in range(10)]
        (tmp_path / f"{part}.conll").write_text("\n".join(lines) + "\nz\tI-Skill\n")
    config = SkillDataConfig(
        name="columns",
        format="conll",
        train=str(tmp_path / "train.conll"),
        test=str(tmp_path / "test.conll"),
        kinds=("skill",),
        valid=0.3,
    )
    with pytest.raises(DataError, match=r"train\.conll: line 41: .*I-skill after O"):
        load_texts(config)
    texts = load_texts(dataclasses.replace(config, illegal="repair"))
    assert texts.repaired == 2 and texts.dropped == 1  # the last text is in both files
    assert [len(part) for part in texts.parts.values()] == [7, 3, 11]
    assert texts.describe()["skill_spans"] == 11
