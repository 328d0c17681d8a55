"""A whole corpus: what is dropped, the same files after a kill, and foreign directories."""

import contextlib
import dataclasses
import functools
import json
import os
import signal
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import load_tokenizer
from jaxrec.data.corpora import (
    BlockSource,
    Evaluation,
    Hooks,
    Quality,
    Scores,
    Tokenizer,
    corpus_hash,
    occurs_earlier,
    read_shard,
    run,
    run_corpus,
    try_corpus,
)


def documents(directory):
    return [d for path in sorted((directory / "documents").iterdir()) for d in read_shard(path)]


def test_planted_copies_are_dropped_and_every_drop_is_counted(corpus, tmp_path):
    report = run_corpus(corpus, tmp_path / "out")
    stages = report["stages"]
    assert stages["read"] == {"in": 62, "rejected": {"empty": 1}}
    assert stages["gopher_quality"] == {"in": 61, "rejected": {"too few words": 1}}
    dropped = {"exact duplicate": 10, "near-duplicate": 10}
    assert stages["duplicates"] == {"in": 60, "rejected": dropped}
    assert report["documents"] == 40
    assert report["personal"] == {"email": 1, "ip": 1, "phone": 1}
    kept = documents(tmp_path / "out")
    # The first of every cluster stays: all of the first file, and the first five of the second.
    ids = [f"a.jsonl#{n}" for n in range(35)] + [f"b.jsonl#{n}" for n in range(5)]
    assert [document.id for document in kept] == ids
    assert kept[3].text.endswith("Write to <email> or call <phone>, not 10.0.0.1 but <ip>.")
    assert report["index"]["bytes_per_document"] <= 200
    assert not (tmp_path / "out" / "work").exists()


@pytest.mark.parametrize("form", ["array_record", "parquet"])
def test_blocks_hold_the_tokens_of_the_documents_in_order(corpus, tmp_path, form):
    blocks = dataclasses.replace(corpus.blocks, form=form)
    report = run_corpus(dataclasses.replace(corpus, blocks=blocks), tmp_path / "out")
    tokenizer = load_tokenizer(tmp_path / "out" / "tokenizer")
    source = BlockSource(tmp_path / "out")
    assert len(source) == report["blocks"]
    rows = [source[n] for n in range(len(source))]
    tokens = np.concatenate([row["tokens"][row["segments"] >= 0] for row in rows])
    assert len(tokens) == report["tokens"]
    texts = tokenizer.decode(tokens).split("</s>")
    assert texts[:-1] == [document.text for document in documents(tmp_path / "out")]
    assert {tuple(row["tokens"].shape) for row in rows} == {(64,)}
    with pytest.raises(IndexError):
        source[len(source)]


def test_two_runs_give_the_same_hash_and_a_finished_one_is_not_run_again(corpus, tmp_path):
    one, two = (run_corpus(corpus, tmp_path / name) for name in ("one", "two"))
    assert one == two
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")}
    assert run_corpus(corpus, tmp_path / "one") == one
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")} == before
    other = run_corpus(dataclasses.replace(corpus, personal=False), tmp_path / "three")
    assert other["hash"] != one["hash"]


class _Stopped(BaseException):
    """Stands for a kill: nothing in the library catches it."""


WRITERS = ("write_text", "write_array", "write_documents", "write_blocks", "occurs_earlier")


def test_stopped_before_any_of_its_writes_it_goes_on_to_the_same_hash(
    corpus, tmp_path, monkeypatch
):
    whole = run_corpus(corpus, tmp_path / "whole")
    calls, limit = [0], [10**9]

    def guard(function):
        def called(*arguments, **options):
            calls[0] += 1
            if calls[0] > limit[0]:
                raise _Stopped
            return function(*arguments, **options)

        return called

    for name in WRITERS:
        monkeypatch.setattr(run, name, guard(getattr(run, name)))
    for limit[0] in (3, 11):
        out, attempts, report = tmp_path / f"out{limit[0]}", 0, None
        while report is None and attempts < 100:
            calls[0] = 0
            attempts += 1
            with contextlib.suppress(_Stopped):
                report = run_corpus(corpus, out)
        assert report == whole, f"stopped after {limit[0]} writes"
        assert attempts > 5
        assert corpus_hash(out) == report["hash"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:os.fork.. was called")  # the children use no JAX
def test_killed_at_random_moments_it_goes_on_to_the_same_hash(corpus, tmp_path):
    whole = run_corpus(corpus, tmp_path / "whole")
    rng = np.random.default_rng(0)
    for attempt in range(12):
        out = tmp_path / f"out{attempt}"
        for _ in range(30):
            child = os.fork()
            if not child:
                signal.setitimer(signal.ITIMER_REAL, float(rng.random()) + 0.01)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process at once
                run_corpus(corpus, out)
                os._exit(0)
            rng.random()  # the child's draw
            if os.waitpid(child, 0)[1] == 0:
                break
        assert run_corpus(corpus, out) == whole


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(corpus, make_text, tmp_path, monkeypatch):
    # Both corpora have more hashes than fit into a portion.
    portion = functools.partial(occurs_earlier, portion=1 << 13)
    monkeypatch.setattr("jaxrec.data.corpora.run.occurs_earlier", portion)
    rng = np.random.default_rng(1)
    peaks = []
    for count in (300, 1500):
        path = tmp_path / f"{count}.jsonl"
        path.write_text("\n".join(json.dumps({"text": make_text(rng, 40)}) for _ in range(count)))
        source = dataclasses.replace(corpus.source, paths=(str(path),))
        tokenizer = Tokenizer(kind="none")
        config = dataclasses.replace(corpus, source=source, shard_documents=50, tokenizer=tokenizer)
        tracemalloc.start()
        assert run_corpus(config, tmp_path / str(count))["documents"] == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The texts are 3.6 MB more; 1,200 documents may take 200 bytes each, and noise.
    assert peaks[1] - peaks[0] < 1200 * 200 + 400_000


def test_a_directory_of_something_else_is_not_touched(corpus, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds something else \(notes.txt\) and no corpus"):
        run_corpus(corpus, out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    run_corpus(corpus, tmp_path / "corpus")
    with pytest.raises(ConfigError, match="another corpus: seed is 1 and was 0"):
        run_corpus(dataclasses.replace(corpus, seed=1), tmp_path / "corpus")
    with open(corpus.source.paths[1], "a") as file:
        file.write('\n{"text": "one more"}')
    with pytest.raises(ConfigError, match="an input file has changed"):
        run_corpus(corpus, tmp_path / "corpus")


def test_a_bad_source_is_an_error_before_anything_is_written(corpus, tmp_path):
    out = tmp_path / "out"
    for source, message in {
        dataclasses.replace(corpus.source, column="story"): "no column 'story'",
        dataclasses.replace(corpus.source, paths=(str(tmp_path / "gone"),)): "no such file",
    }.items():
        with pytest.raises(DataError, match=message):
            run_corpus(dataclasses.replace(corpus, source=source), out)
        assert not out.exists()


def test_a_corpus_of_one_document_and_one_of_none(corpus, tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("A single film, and that is all of it.")
    source = dataclasses.replace(corpus.source, paths=(str(path),))
    one = dataclasses.replace(corpus, source=source, quality=Quality(rules=()))
    assert run_corpus(one, tmp_path / "one")["documents"] == 1
    none = dataclasses.replace(corpus, source=source)
    with pytest.raises(DataError, match=r"no document is left of 1: 1 were dropped by gopher_qual"):
        run_corpus(none, tmp_path / "none")
    assert not (tmp_path / "none" / "report.json").exists()


def test_stages_by_scores_and_hooks_reject_with_their_reasons(corpus, tmp_path):
    evaluation = tmp_path / "evaluation.jsonl"
    row = json.loads(Path(corpus.source.paths[0]).read_text().split("\n")[0])
    evaluation.write_text(json.dumps({"text": row["text"][:200]}))
    config = dataclasses.replace(
        corpus,
        evaluation=Evaluation(paths=(str(evaluation),)),
        scores=Scores(max_perplexity=100.0),
    )
    hooks = Hooks(
        identify=lambda text: ("de", 0.9) if "ghost" in text[:60] else ("en", 0.5 + len(text) % 2),
        perplexity=lambda text: 1000.0 if "river" in text[:100] else 10.0,
        classify=lambda text: 1.0,
    )
    drops = try_corpus(config, hooks).rows
    assert set(drops["language"]["rejected"]) == {"other language", "language not sure"}
    assert set(drops["perplexity"]["rejected"]) == {"perplexity too high"}
    assert drops["classifier"]["rejected"] == {}
    hooks = Hooks()
    assert try_corpus(config, hooks).rows["evaluation"]["rejected"] == {"overlap": 2}
    assert corpus_hash(tmp_path) == corpus_hash(tmp_path / "nothing")
