"""Exports for the Hub, vLLM and FlashRec: what they hold, and that their READMEs run."""

import dataclasses
import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import yaml

import jaxrec
from jaxrec.cli.main import main
from jaxrec.data import load_dataset
from jaxrec.testing import tiny_model

from .runs import generative_run

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
HISTORY = ["i003", "i007", "i012", "i020"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of Qwen3's architecture with random parameters."""
    model = dataclasses.replace(tiny_model(), qk_norm=True)
    return generative_run(tmp_path_factory.mktemp("engines"), model=model)


def export(run, to, out, *words):
    return main(["export", str(run), "--to", to, "--out", str(out), *words])


def test_the_directory_for_the_hub_repeats_the_score(run, tmp_path, monkeypatch, capsys):
    config, path = run
    out = tmp_path / "hub"
    assert export(path, "hub-dir", out) == 2
    assert f"run jaxrec eval {path} first" in capsys.readouterr().err
    assert main(["eval", str(path), "--baselines", "popularity"]) == 0
    measured = json.loads((path / "result.json").read_text())["model"]
    assert export(path, "hub-dir", out) == 0
    card = (out / "README.md").read_text()
    names = {file.name for file in out.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "item_ids.json"} <= names

    # The head of the card is what the Hub reads.
    (index,) = yaml.safe_load(card.split("---\n")[1])["model-index"]
    (result,) = index["results"]
    shown = {row["type"]: row["value"] for row in result["metrics"]}
    assert shown["hr@10"] == pytest.approx(measured["hr@10"]) and "ndcg@10" in shown
    # Nobody learns where the data lay; and what the card says to run, runs.
    assert str(path.parent) not in card and "report.html" not in card
    monkeypatch.chdir(out)
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})

    # The score, counted by hand over the lists of the export.
    data = load_dataset(config.data)
    ids = data.interactions.items.ids
    histories = [ids[history].tolist() for history in data.split.history("test")]
    lists = jaxrec.open(out).recommend(histories=histories, top=10).numbers
    targets = data.split.target("test")
    hits = [target in found for target, found in zip(targets, lists.tolist(), strict=True)]
    assert np.mean(hits) == pytest.approx(measured["hr@10"], abs=1 / len(hits) + 1e-9)


def all_scores(out, history):
    """The log-probability of every item's ID over the whole vocabulary, by `item_ids.json`."""
    model = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    ids = {row["item"]: row["id"] for row in json.loads((out / "item_ids.json").read_text())}
    read = tokenizer("".join(ids[item] for item in history))["input_ids"]
    found = {}
    for item, text in ids.items():
        code = tokenizer(text, add_special_tokens=False)["input_ids"]
        if item not in history:
            found[item] = sequence_scores(model, read, [code])[0]
    return found


def sequence_scores(model, read, codes):
    """Log-probabilities of sequences of tokens after what was read."""
    with torch.no_grad():
        logits = model(torch.tensor([[*read, *code] for code in codes])).logits
    shares = logits[:, len(read) - 1 : -1].log_softmax(-1)
    return shares.gather(2, torch.tensor(codes)[:, :, None])[..., 0].sum(1).tolist()


def readme(out, monkeypatch):
    """Run the README's script, and return its names."""
    monkeypatch.chdir(out)
    names = {}
    exec((out / "README.md").read_text().split("```python\n")[1].split("```")[0], names)
    return names


def is_best(found, expected, beams):
    """The lists hold the best items that are no part of the history, in order."""
    best = sorted(expected, key=lambda item: -expected[item])
    assert list(found) == [item for item in best if item in found] and len(found) >= 3
    assert next(iter(found)) == best[0] and len(found) <= beams
    np.testing.assert_allclose(list(found.values()), [expected[i] for i in found], atol=1e-4)


def test_the_script_for_vllm_finds_the_best_items(run, tmp_path, monkeypatch):
    out = tmp_path / "vllm"
    assert export(run[1], "vllm", out) == 0

    class Engine:
        """`vllm.LLM`, with a search over every pair of tokens, of which most are no ID."""

        def __init__(self, model, max_logprobs, enable_prefix_caching):
            self.model = transformers.AutoModelForCausalLM.from_pretrained(model).eval()
            self.max_logprobs = max_logprobs

        def beam_search(self, prompts, params):
            assert params.max_tokens == 2 and self.max_logprobs == 2 * params.beam_width
            assert self.max_logprobs <= self.model.config.vocab_size
            found = []
            for prompt in prompts:
                read = prompt["prompt_token_ids"]
                codes = [(a, b) for a in range(18) for b in range(18)]
                scores = sequence_scores(self.model, read, codes)
                beams = [
                    types.SimpleNamespace(tokens=[*read, *code], cum_logprob=score)
                    for code, score in zip(codes, scores, strict=True)
                ]
                found.append(types.SimpleNamespace(sequences=beams))
            return found

    vllm = types.SimpleNamespace(LLM=Engine)
    parameters = types.SimpleNamespace(BeamSearchParams=types.SimpleNamespace)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", parameters)
    names = readme(out, monkeypatch)
    is_best(names["recommend"](HISTORY), all_scores(out, HISTORY), 10)


def test_the_script_for_flashrec_gives_its_engine_the_catalogue(run, tmp_path, monkeypatch):
    out = tmp_path / "flashrec"
    assert export(run[1], "flashrec", out) == 0
    assert json.loads((out / "config.json").read_text())["model_type"] == "qwen3"

    class Engine:
        """FlashRec's engine: IDs become tokens by its rule, and no boundary token is added."""

        def __init__(self, config):
            first, last = (int(word) for word in config.sid_token_range.split(":"))
            sizes = [int(word) for word in config.sid_codebook_sizes.split(",")]
            assert last - first + 1 == sum(sizes)
            assert config.sid_boundary_tokens == "" and config.length_penalty == 0
            self.codes = []
            for key in json.loads(Path(config.sid_vocab_file).read_text()):
                codes = [int(code) for code in key.split(",")]
                assert all(0 <= code < size for code, size in zip(codes, sizes, strict=True))
                starts = [first + sum(sizes[:level]) for level in range(len(sizes))]
                self.codes.append([s + c for s, c in zip(starts, codes, strict=True)])
            self.model = transformers.AutoModelForCausalLM.from_pretrained(config.model_path)
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(config.model_path)

        def generate(self, input_ids, n, max_tokens):
            assert max_tokens == 2
            scores = sequence_scores(self.model.eval(), input_ids, self.codes)
            beams = [
                types.SimpleNamespace(
                    beam_score=score, text="".join(self.tokenizer.convert_ids_to_tokens(code))
                )
                for code, score in zip(self.codes, scores, strict=True)
            ]
            beams.sort(key=lambda beam: -beam.beam_score)
            return types.SimpleNamespace(sequences=beams[:n])

    flashrec = types.SimpleNamespace(BeamRecEngine=Engine, BeamRecConfig=types.SimpleNamespace)
    monkeypatch.setitem(sys.modules, "flashrec", flashrec)
    names = readme(out, monkeypatch)
    is_best(names["recommend"](HISTORY), all_scores(out, HISTORY), 10)


@pytest.mark.parametrize(
    ("settings", "to", "said"),
    [
        ({}, "flashrec", "model.qk_norm is False"),
        ({"user_tokens": 4}, "vllm", "train with --user-tokens 0"),
    ],
)
def test_what_an_engine_cannot_serve_is_refused(settings, to, said, tmp_path, capsys):
    path = generative_run(tmp_path, **settings)[1]
    assert export(path, to, tmp_path / "out") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
