import dataclasses
import functools
import re
import subprocess
import sys

import numpy as np
import pytest

from jaxrec.cli import main, report
from jaxrec.core import DataError
from jaxrec.core.files import to_json
from jaxrec.eval.report import RunParts, model_card, render, settings
from jaxrec.eval.report_facts import SystemFacts
from jaxrec.ids import ItemCodes, code_statistics
from jaxrec.systems.generative.config import Config
from jaxrec.systems.generative.run import FACTS
from jaxrec.testing import Page

EVIL = "<script>alert('1')</script> & \"Sons\" (1999)"
TFIDF = {"encoder": "TF-IDF", "directory": None, "width": 64, "encoder_width": None}
MINILM = {"encoder": "a<b/model", "directory": "/a<b/model", "width": 64, "encoder_width": 384}
NAMES = ("hr@5", "ndcg@5", "mrr@5", "hr@10", "ndcg@10", "mrr@10")


def system(place):
    values = {name: 0.0111 * (place + 1) + 0.1 * k for k, name in enumerate(NAMES)}
    return {
        "metrics": values,
        "intervals": {name: [value - 0.01, value + 0.01] for name, value in values.items()},
        "parameters": 12345 * place,
        "fit_seconds": 61.2,
        "test_seconds": 0.25,
    }


def a_report():
    systems = ("model", "popularity", "item_knn", "markov", "cooccurrence", "sasrec")
    return {
        "rows": {name: system(place) for place, name in enumerate(systems)},
        "comparisons": [
            {
                "baseline": name,
                "metric": "ndcg@10",
                "difference": -0.0111 * place,
                "interval": [-0.0111 * place - 0.01, -0.0111 * place + 0.01],
                "p": 0.0004,
                "p_holm": 0.002 if place > 1 else 0.2,
            }
            for place, name in enumerate(systems)
            if place
        ],
        "protocol": {
            "dataset": "ml-100k",
            "source": "somewhere",
            "users": 943,
            "items": 1349,
            "interactions": 99287,
            "dropped_users": 0,
            "fingerprint": "abc123",
            "split": "leave-one-out: last item test, second last validation",
            "ties": "stably by (timestamp, original row)",
            "ranking": "full catalogue of 1,349 items",
            "seen_items": "removed",
        },
        "text_encoders": {
            "metric": "hr@10",
            "chance": 0.0081,
            "rows": [
                {
                    **facts,
                    "used": used,
                    "moved": 1200 + used,
                    "value": value,
                    "interval": [0.03, 0.061],
                }
                for facts, used, value in ((TFIDF, True, 0.0424), (MINILM, False, 0.0498))
            ],
        },
        "leaks": {"max_plus_one": 0.0021},
        "samples": [
            {
                "user": "63",
                "history": ["Alien (1979)", EVIL],
                "target": "Heat (1995)",
                "recommendations": [
                    {"title": EVIL, "score": -4.25, "hit": False},
                    {"title": "Heat (1995)", "score": -4.5, "hit": True},
                ],
            }
        ],
        "invalid_items": 0,
        "repeated_items": 0,
    }


def some_metrics():
    rows = []
    for step in range(5, 61, 5):
        loss = 9 - step / 50
        levels = {"loss/level_0": loss / 2, "loss/level_1": loss / 2}
        rows.append({"step": step, "loss": loss, **levels, "compiles": 9.0})
        if step % 20 == 0:
            rows.append({"step": step, "valid/hr@10": 0.2, "valid/ndcg@10": 0.1 - (step - 40) ** 2})
    return rows


def item_codes():
    codes = np.stack(np.divmod(np.arange(20), 8), axis=1)
    before = code_statistics(codes // 2, (8, 8))
    repaired = {"method": "next_free", "moved": before["must_move"], "before": before}
    facts = code_statistics(codes, (8, 8)) | {"repair": repaired, "text": TFIDF}
    return ItemCodes(codes=codes, sizes=(8, 8), scheme="pq", metadata=facts)


def whole():
    codes = item_codes()
    return RunParts(
        run="runs/a",
        config=dataclasses.asdict(Config()),
        system=SystemFacts(name="Generative recommender"),
        env={
            "data": a_report()["protocol"],
            "python": "3.11",
            "platform": "Linux",
            "packages": {"jax": "0.10.2"},
            "devices": ["cpu"],
        },
        report=a_report(),
        metrics=some_metrics(),
        train={"steps": 60, "best_step": 40, "seconds": 64.0, "compiles_after_warmup": 0},
        codes=codes.codes,
        ids=codes.metadata | {"scheme": codes.scheme, "sizes": codes.sizes},
        about="MovieLens 100K",
        homepage="https://grouplens.org/datasets/movielens/",
    )


@functools.cache
def whole_page():
    return render(whole())


def test_page_nests_and_repeats_no_id():
    page = Page(whole_page())
    assert len(page.ids) == len(set(page.ids))
    targets = {a[1:] for a in page.addresses if a.startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]*)\)", whole_page()))
    assert targets
    assert targets <= set(page.ids)


def test_every_system_and_number_is_shown():
    text = Page(whole_page()).text
    for name, row in a_report()["rows"].items():
        assert name in text
        for metric in NAMES:
            low, high = row["intervals"][metric]
            assert f"{row['metrics'][metric]:.4f}" in text
            assert f"[{low:.3f}, {high:.3f}]" in text
        assert f"{row['parameters']:,}" in text
    for row in a_report()["comparisons"]:
        assert f"{row['difference']:+.4f}".replace("-", "\u2212") in text
    assert "< 0.001" in text
    assert "no significant difference" in text
    assert "model worse" in text
    assert "the model reaches NDCG@10 0.4111 and HR@10 0.3111" in text
    assert "The strongest baseline, sasrec," in text
    assert "0 invalid items, 0 repeated items" in text
    assert "0.21 % of the test items; chance is 0.07 %" in text.replace("\xa0", " ")
    assert "The parameters of the best validation, at step 40," in text


def with_text(used, rows):
    """A complete run that used one encoder and compared several."""
    parts = whole()
    encoders = a_report()["text_encoders"] | {"rows": rows}
    return dataclasses.replace(
        parts,
        ids=parts.ids | {"text": used},
        report=a_report() | {"text_encoders": encoders if rows else None},
    )


def section(parts):
    return Page(render(parts)).text.split("Item text encoder ", 1)[1].split(" Sample rec")[0]


def test_the_text_encoder_is_named_with_what_each_gives():
    found = section(whole())
    assert "TF-IDF as vectors of words and word pairs, and reduced to 64 columns" in found
    assert "TF-IDF yes 64 0.0424 [0.030, 0.061] 1,201" in found
    assert "a<b/model no 384 64 0.0498 [0.030, 0.061] 1,200" in found
    assert "random lists give 0.0081" in found
    assert "No sentence encoder" not in found
    card = model_card(whole())
    assert "| TF-IDF | yes | 64 | 0.0424 [0.030, 0.061] | 1,201 |" in card
    assert "| a\\<b/model | no | 64 | 0.0498 [0.030, 0.061] | 1,200 |" in card


def test_a_sentence_encoder_that_was_used_is_named():
    rows = a_report()["text_encoders"]["rows"]
    found = section(with_text(MINILM, [rows[0] | {"used": False}, rows[1] | {"used": True}]))
    assert "encoded by a<b/model as vectors of sentences, 384 wide, and reduced to 64" in found
    assert "TF-IDF no 64" in found
    assert "a<b/model yes 384" in found


def test_without_a_sentence_encoder_the_report_says_how_to_give_one():
    only = with_text(TFIDF, a_report()["text_encoders"]["rows"][:1])
    for text in (section(only), model_card(only)):
        assert "No sentence encoder was available" in text
        assert "JAXREC_TEXT_ENCODER" in text
        assert "ids.text_encoder" in text


def test_runs_without_texts_and_old_runs_say_so():
    found = section(with_text(None, []))
    assert found == "The item IDs use no item texts."
    old = with_text(TFIDF, [])
    old.ids.pop("text")
    del old.report["text_encoders"]
    found = section(old)
    assert "does not record which text encoder" in found
    assert "were not compared" in found
    rows = [row | {"used": None} for row in a_report()["text_encoders"]["rows"]]
    old.report["text_encoders"] = a_report()["text_encoders"] | {"rows": rows}
    assert "TF-IDF not recorded 64" in section(old)
    assert "| TF-IDF | not recorded |" in model_card(old)


def test_titles_are_escaped():
    text = whole_page()
    assert "script" not in {tag for tag, _ in Page(text).tags}
    assert "&lt;script&gt;" in text
    assert EVIL in Page(text).text


def test_nothing_is_fetched():
    text = whole_page()
    page = Page(text)
    assert {a for a in page.addresses if not a.startswith("#")} == {whole().homepage}
    assert "@import" not in text
    assert re.findall(r"https?://[^\"'<\s]*", text) == [whole().homepage]
    assert not set(re.findall(r"url\(([^)])", text)) - {"#"}


def test_figures_follow_the_theme_and_can_be_heard():
    text = whole_page()
    figures = [attributes for tag, attributes in Page(text).tags if tag == "svg"]
    assert len(figures) == 6
    assert all(figure["role"] == "img" for figure in figures)
    assert "model 0.4111, from 0.401 to 0.421" in figures[0]["aria-label"]
    assert "best step 40" in figures[3]["aria-label"]
    assert not re.search(r"#0[0-9]0[0-9]0[0-9]", text)
    assert {"var(--ink)", "var(--muted)", "var(--accent)"} <= set(re.findall(r"var\(--\w+\)", text))


def test_tables_have_captions_and_hits_are_written_out():
    text = whole_page()
    assert text.count("<table>") == text.count("<caption>") == 6
    assert text.count("<span>✓ hit</span>") == 1


def test_equal_parts_give_equal_pages():
    assert render(whole()) == whole_page()
    assert model_card(whole()) == model_card(whole())


@pytest.mark.parametrize(
    ("part", "empty", "command"),
    [
        ("report", None, "jaxrec eval runs/a"),
        ("metrics", (), "jaxrec train CONFIG --run-dir runs/a"),
        ("train", None, "jaxrec train CONFIG --run-dir runs/a"),
        ("codes", None, "jaxrec ids CONFIG --run-dir runs/a"),
    ],
)
def test_missing_part_names_the_command_that_makes_it(part, empty, command):
    parts = whole()
    assert command not in whole_page()
    lacking = dataclasses.replace(parts, **{part: empty})
    assert command in Page(render(lacking)).text
    assert model_card(lacking)


def test_run_of_settings_alone_still_renders():
    parts = RunParts(run="runs/a", config=dataclasses.asdict(Config()))
    assert "Recommender on ml-100k" in Page(render(parts)).text
    assert "jaxrec eval runs/a" in model_card(parts)


def clicks():
    """Parts of a run that ranks nothing: metrics without cut-offs, no IDs, rows without sizes."""
    row = {"metrics": {"auc": 0.71}, "intervals": {"auc": [0.6, 0.8]}}
    better = {"metrics": {"auc": 0.81}, "intervals": {"auc": [0.7, 0.9]}}
    report = {
        "rows": {"model": row | {"parameters": 12}, "untuned": better, "item mean": row},
        "comparisons": [],
        "protocol": {"dataset": "rule", "test": 40, "fingerprint": "abc"},
        "heading": "rule, users split",
        "tables": {"rating": {"model, text": {"rmse": 0.955}}},
    }
    facts = SystemFacts(
        name="Asker",
        summary="It asks.",
        tags=("asking",),
        metric="mean_auc",
        has_ids=False,
        recommends=False,
        variants=("untuned",),
        python="open_it('{folder}')",
    )
    metrics = [
        {"step": step, "loss": 1.0, "valid/mean_auc": 0.5, "valid/auc": 0.4} for step in (1, 2)
    ]
    return dataclasses.replace(
        whole(), system=facts, report=report, env={}, metrics=metrics, codes=None, ids={}
    )


def test_a_system_without_rankings_or_ids_has_a_page_and_a_card():
    text = Page(render(clicks())).text
    assert "Asker on rule" in text
    assert "rule, users split. The model reaches AUC 0.7100." in text
    # The best other row is the model itself, so it is no baseline.
    assert "The strongest baseline, item mean, reaches 0.7100." in text
    assert "rating system RMSE model, text 0.9550" in text
    assert "Validation metrics by training step step MEAN_AUC AUC 1 0.5000 0.4000" in text
    assert "Item IDs" not in text and "Sample recommendations" not in text
    card = model_card(clicks())
    assert "| model, text | 0.9550 |" in card
    assert "| model | 0.7100 [0.600, 0.800] | 12 |" in card
    assert "Item text encoder" not in card
    assert "- asking" in card and "It asks. `report.html`" in card
    assert "jaxrec eval a\n" in card and "jaxrec recommend" not in card
    assert "    open_it('a')" in card


def test_a_run_that_measured_no_main_metric_shows_its_tables():
    empty = {"model": {"metrics": {}, "intervals": {}}}
    parts = dataclasses.replace(clicks(), report=clicks().report | {"rows": empty})
    text = Page(render(parts)).text
    assert "rule, users split. The results are in the tables below." in text
    assert "model, text 0.9550" in text
    assert "model, text" in model_card(parts)


def test_report_without_baselines_renders():
    report = a_report() | {"rows": {"model": system(0)}, "comparisons": [], "samples": []}
    text = Page(render(dataclasses.replace(whole(), report=report))).text
    assert "No baseline was measured." in text
    assert "strongest baseline" not in text


def test_long_and_broken_curves_are_drawn():
    metrics = [{"step": step, "loss": float("nan")} for step in range(1, 5001)]
    text = render(dataclasses.replace(whole(), metrics=metrics))
    assert len(text) < 500_000
    assert "step 5000" in text
    assert Page(text)


def test_many_codes_stay_a_small_figure():
    ids = {"scheme": "independent", "sizes": (50_000,)}
    parts = dataclasses.replace(whole(), codes=np.arange(50_000)[:, None], ids=ids)
    assert len(render(parts)) < 500_000


def test_model_card_has_results_licence_and_settings():
    card = model_card(whole())
    assert "| model | 0.4111 [0.401, 0.421] | 0.3111 [0.301, 0.321] |" in card
    assert "<https://grouplens.org/datasets/movielens/>" in card
    assert f"| train.steps | {Config().train.steps} |" in card
    assert "jaxrec recommend a --user 63" in card


def test_the_python_of_the_model_card_imports_what_there_is():
    card = model_card(dataclasses.replace(whole(), system=FACTS))
    lines = [line.strip() for line in card.splitlines()]
    imports = [line for line in lines if line.startswith("from ")]
    names = {}
    exec("\n".join(imports), names)
    assert len(imports) == 3
    assert callable(names["generative"].recommender.load_recommender)


def test_of_equal_validations_the_last_is_the_best_as_of_checkpoints():
    rows = [{"step": step, "valid/hr@10": 0.2, "valid/ndcg@10": 0.1} for step in (20, 40, 60)]
    text = Page(render(dataclasses.replace(whole(), metrics=rows))).text
    assert "The parameters of the best validation, at step 60," in text


def test_model_card_escapes_names():
    report = a_report()
    report["protocol"]["dataset"] = "my|data <script>"
    card = model_card(dataclasses.replace(whole(), report=report, homepage=""))
    assert "# Generative recommender on my\\|data \\<script\\>" in card
    assert "does not know the licence" in card


def test_settings_are_flat_and_in_order():
    nested = {"a": 1, "b": {"c": [1, 2], "d": None}, "e": ""}
    assert settings(nested) == [("a", "1"), ("b.c", "1, 2"), ("b.d", "none"), ("e", "")]


def test_importing_eval_loads_no_plotting():
    code = (
        "import sys, jaxrec.eval.report as _; print(*{'matplotlib', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def write_run(directory):
    directory.mkdir()
    (directory / "config.json").write_text(to_json(dataclasses.asdict(Config())))
    item_codes().save(directory / "ids")
    (directory / "metrics.jsonl").write_text('{"step": 5, "loss": 8.5}\n{"step": 10, "lo')
    trained = {"steps": 10, "seconds": 1.5, "compiles_after_warmup": 0}
    (directory / "train.json").write_text(to_json(trained))
    return directory


def test_command_writes_both_files_and_the_next_command(tmp_path, capsys):
    run = write_run(tmp_path / "a")
    assert main.main(["report", str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: jaxrec eval {run}"
    trained = (run / "train.json").rename(tmp_path / "kept.json")
    assert main.main(["report", str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: jaxrec train CONFIG --run-dir {run}"
    trained.rename(run / "train.json")
    (run / "eval.json").write_text(to_json(a_report()))
    assert main.main(["report", str(run)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {run / 'report.html'} and {run / 'README.md'}",
        f"next: open {run / 'report.html'}",
    ]
    assert "cooccurrence" in Page((run / "report.html").read_text()).text
    assert (run / "README.md").read_text().startswith("---\nlibrary_name: jaxrec\n")


def test_no_run_and_damaged_report_are_data_errors(tmp_path, capsys):
    assert main.main(["report", str(tmp_path)]) == 3
    assert "is no run directory" in capsys.readouterr().err
    run = write_run(tmp_path / "a")
    (run / "eval.json").write_text('{"rows": {}}')
    with pytest.raises(DataError, match=r"lacks comparisons, .*write it again: jaxrec eval"):
        report.read_parts(run)
