"""Every block of code of the documentation is one that some test runs, reads or parses."""

import ast
import importlib
import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import snippets as reader
import yaml

from jaxrec.align import read_feedback, read_preferences, read_probes
from jaxrec.capacity.declared import read_task_file
from jaxrec.data import ItemTable
from jaxrec.ids import external
from jaxrec.serve.labeling_tasks import read_tasks
from jaxrec.serve.recommend_requests import RecommendLimits, read_recommend
from jaxrec.systems.chatgpt import read_wordings
from jaxrec.systems.llm4rs import InstancesConfig
from jaxrec.texts import read_task_set
from jaxrec.texts.candidate_sets import read_candidate_sets

PAGES = {str(path.relative_to(reader.ROOT)): path for path in reader.pages()}
WITH_JSON = [name for name, path in PAGES.items() if reader.blocks(path.read_text(), "json")]
LANGUAGES = {"python", "bash", "shell", "json", "yaml", "text", "{toctree}"}
# Programs in shell blocks that a page may show besides those that `test_snippets.py` checks.
OTHERS = {"pip", "sphinx-build", "srun", "cat", "[", "exit", "curl", "lm_eval"}
# What would be code that nobody runs, in a block for drawings and outputs.
CODE = re.compile(r"^\s*(import |from \w+ import|def |\$ |pip |curl |jaxrec |python |tools/)", re.M)


def read_instances(path):
    names = ["242", "302", "51", "346", "8", "79", "7"]
    items = ItemTable(np.array(names), {})
    return read_candidate_sets(path, items, np.array(["196"]), InstancesConfig().candidates)


def read_rows_and_tasks(path):
    row = {"premise": "It rains.", "claim": "It is wet.", "answer": "yes", "options": ["yes", "no"]}
    (path.parent / "entailment.jsonl").write_text(json.dumps(row))
    return read_task_set(path)


def read_ids(path):
    return external.read(path, ["B00X", "B00Y"])


# What reads the blocks of JSON of a page, in order, and the ending of such a file.
READERS = {
    "docs/guides/asked_recommenders.md": [(read_wordings, ".json")],
    "docs/guides/capacity.md": [(read_task_file, ".json")],
    "docs/guides/feedback.md": [
        (read_tasks, ".jsonl"),
        (read_feedback, ".jsonl"),
        (read_probes, ".jsonl"),
        (read_preferences, ".jsonl"),
    ],
    "docs/guides/instruction_tuning.md": [(read_rows_and_tasks, ".json")],
    "docs/guides/item_ids.md": [(read_ids, ".json")],
    "docs/guides/ranking_by_asking.md": [(read_instances, ".jsonl")],
}


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_checked(page):
    text = PAGES[page].read_text()
    found = reader.all_blocks(text)
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(found)
    for block in found:
        assert block.language in LANGUAGES, f"{page}: nobody checks {block.language!r}"
        assert not block.tested_by or block.language == "python"
    for body in [*reader.blocks(text, "text"), *reader.indented(text)]:
        hidden = CODE.search(body)
        assert not hidden, f"{page}: {hidden[0]!r} stands in a block that no test runs"


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_names_its_test_is_tested_there(page):
    for block in reader.all_blocks(PAGES[page].read_text()):
        if not block.tested_by:
            continue
        test = (reader.ROOT / block.tested_by).read_text()
        tree = ast.parse(block.text)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert f"{node.func.attr}(" in test, f"{block.tested_by}: {node.func.attr}"


@pytest.mark.parametrize("page", PAGES)
def test_shell_blocks_call_programs_that_some_test_knows(page):
    text = PAGES[page].read_text()
    for block in reader.blocks(text, "yaml"):
        yaml.safe_load(block)
    for block in reader.blocks(text, "bash", "shell"):
        subprocess.run(["bash", "-n", "-c", block], check=True)
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            words = shlex.split(line, comments=True)
            if not words or re.match(r"\w+=", words[0]):
                continue
            ours = words[0] == "jaxrec" or words[0].startswith("tools/") or words[0] == "python"
            assert ours or words[0] in OTHERS, f"{page}: nobody checks {line!r}"
            if words[0] == "curl":
                check_curl(words)


def check_curl(words):
    """The route exists, and the body of a request for recommendations is accepted."""
    routes = Path(importlib.import_module("jaxrec.serve.recommend_routes").__file__).read_text()
    url = next(word for word in words if word.startswith("http://127.0.0.1:8000/"))
    method = words[words.index("-X") + 1].lower() if "-X" in words else "post"
    route = url.removeprefix("http://127.0.0.1:8000")
    assert (
        f'.{method}("{route}")' in routes or f'("{route}", methods=["{method.upper()}"])' in routes
    )
    body = json.loads(words[words.index("-d") + 1])
    if route == "/v1/recommend":
        assert read_recommend(body, RecommendLimits()).top == body["top"]


@pytest.mark.parametrize("page", WITH_JSON)
def test_blocks_of_json_are_read_by_what_the_page_is_about(page, tmp_path):
    bodies = reader.blocks(PAGES[page].read_text(), "json")
    assert len(bodies) == len(READERS[page])
    for number, (body, (read, ending)) in enumerate(zip(bodies, READERS[page], strict=True)):
        path = tmp_path / f"file-{number}{ending}"
        path.write_text(one_line_each(body) if ending == ".jsonl" else body)
        assert read(path)


def one_line_each(body):
    """Records on one line each: a long one may be broken on a page."""
    decoder, records, place = json.JSONDecoder(), [], 0
    while body[place:].strip():
        place += len(body[place:]) - len(body[place:].lstrip())
        record, place = decoder.raw_decode(body, place)
        records.append(json.dumps(record))
    return "\n".join(records)


def test_tables_of_item_ids_are_the_same_ids(tmp_path):
    text = PAGES["docs/guides/item_ids.md"].read_text()
    bodies = [*reader.blocks(text, "json"), *reader.blocks(text, "text")]
    read = []
    for number, body in enumerate(bodies):
        path = tmp_path / f"ids-{number}{'.csv' if number else '.json'}"
        path.write_text(body)
        read.append(read_ids(path).codes.tolist())
    assert read == [[[12, 3], [7, 3]]] * 3


def test_what_hides_in_a_block_is_found():
    page = "```text\nfrom jaxrec import open\n```\n\n    jaxrec train a\n\n```text\n| a |\n```\n"
    hidden = [CODE.search(body) for body in [*reader.blocks(page, "text"), *reader.indented(page)]]
    assert [bool(one) for one in hidden] == [True, False, True]
    tested = "<!-- tested by tests/a.py -->\n```python\nx = 1\n```\n```python\ny = 2\n```\n"
    assert [block.tested_by for block in reader.all_blocks(tested)] == ["tests/a.py", ""]
    assert reader.python_blocks(tested) == ["y = 2\n"]
