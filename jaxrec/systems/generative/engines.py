"""What serving engines read beside an exported model: a map from IDs to items, and a README.

An engine generates the codes of an ID; `sid2pid.json` says which item that is. Its keys are codes
separated by commas, and its values lists of objects with the original ID of the item in "pid". This
is the catalogue that FlashRec reads by `--sid-vocab-file`: it maps code c of level l to token
`start + sizes[0] + ... + sizes[l - 1] + c`
(https://github.com/sohu-mptc/FlashRec, `python/flashrec/search/trie.py`), and the tokens of an
export lie exactly so. FlashRec serves the decoder of Qwen3 alone (`python/flashrec/models`).

vLLM reads a directory of Hugging Face. Its search knows no catalogue, so the README drops what is
no ID (https://docs.vllm.ai, `LLM.beam_search` and `BeamSearchParams`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from jaxrec.core import ConfigError
from jaxrec.data import id_tokens
from jaxrec.models import Opened

Engine = Literal["vllm", "flashrec"]
ENGINES: tuple[Engine, ...] = ("vllm", "flashrec")
# The model type of Hugging Face that an engine needs; None for that of the run.
ENGINE_FAMILIES: dict[Engine, str | None] = {"vllm": None, "flashrec": "qwen3"}
_CODE = re.compile(r"<[a-z]+_(\d+)>")

_VLLM = """\
import json
import pathlib

import vllm
from vllm.sampling_params import BeamSearchParams

beams = {beams}
pids = json.loads(pathlib.Path("sid2pid.json").read_text("utf-8"))
sids = {{row["pid"]: sid for sid, rows in pids.items() for row in rows}}
engine = vllm.LLM(model=".", max_logprobs=2 * beams, enable_prefix_caching=True)


def tokens(item):
    codes = [int(code) for code in sids[item].split(",")]
    return [{first} + start + code for start, code in zip({starts}, codes, strict=True)]


known = {{tuple(tokens(item)): item for item in sids}}


def recommend(history, top=10):
    read = [{bos}, *(token for item in history[-{longest}:] for token in tokens(item))]
    params = BeamSearchParams(beam_width=beams, max_tokens={levels}, ignore_eos=True)
    (found,) = engine.beam_search([{{"prompt_token_ids": read}}], params)
    items = {{}}
    for beam in sorted(found.sequences, key=lambda beam: -beam.cum_logprob):
        item = known.get(tuple(beam.tokens[-{levels}:]))  # None for what is no ID
        if item is not None and item not in history:
            items[item] = beam.cum_logprob
    return dict(list(items.items())[:top])


print(recommend(list(sids)[:3]))
"""
_FLASHREC = """\
import json
import pathlib
import re

from flashrec import BeamRecConfig, BeamRecEngine

pids = json.loads(pathlib.Path("sid2pid.json").read_text("utf-8"))
sids = {{row["pid"]: sid for sid, rows in pids.items() for row in rows}}
engine = BeamRecEngine(
    BeamRecConfig(
        model_path=".",
        sid_vocab_file="sid2pid.json",
        sid_token_range="{first}:{last}",
        sid_codebook_sizes="{sizes}",
        sid_boundary_tokens="",  # IDs of this model stand alone, without begin and end
        beam_width={beams},
        max_tokens={levels},
        length_penalty=0.0,
    )
)


def tokens(item):
    codes = [int(code) for code in sids[item].split(",")]
    return [{first} + start + code for start, code in zip({starts}, codes, strict=True)]


def recommend(history, top=10):
    read = [{bos}, *(token for item in history[-{longest}:] for token in tokens(item))]
    found = engine.generate(input_ids=read, n={beams}, max_tokens={levels})
    items = {{}}
    for beam in found.sequences:  # best first; all of them are IDs
        sid = ",".join(re.findall(r"_(\\d+)>", beam.text))
        for row in pids[sid]:
            if row["pid"] not in history:
                items.setdefault(row["pid"], beam.beam_score)
    return dict(list(items.items())[:top])


print(recommend(list(sids)[:3]))
"""
_SCRIPTS: dict[Engine, str] = {"vllm": _VLLM, "flashrec": _FLASHREC}
_NOTES: dict[Engine, str] = {
    "vllm": """\
vLLM's beam search knows no catalogue. A beam that is no item's ID is dropped after the search, so
lists may be shorter than asked for; more beams help. Its scores are log-probabilities over the
whole vocabulary, and those of jaxrec are over the codes of a level, so they differ by what the
model gives to other tokens. vLLM supports head sizes that are multiples of 8; see its
documentation.""",
    "flashrec": """\
FlashRec searches in the catalogue alone. It needs a GPU, and a head size that FlashInfer has
kernels for (64, 128 or 256). It stores weights and keys in eight bits unless told otherwise, so
scores differ slightly from those of jaxrec. The same settings are flags of its server:

    flashrec --serve --model-path . --sid-vocab-file sid2pid.json \\
        --sid-token-range {first}:{last} --sid-codebook-sizes {sizes} --sid-boundary-tokens ''""",
}


def engine_files(opened: Opened, engine: Engine) -> dict[str, str]:
    """Return the files that an engine needs beside config, weights and tokenizer.

    Args:
      opened: a run as a model with its items.
      engine: what is going to serve it.

    Returns:
      "sid2pid.json" and "README.md" by name.

    Raises:
      ConfigError: a model without item IDs of its own tokens, one with an encoder, or one whose
        histories begin with the user.

    Example:
      >>> sid2pid([{"item": "50", "id": "<a_3><b_1>", "label": "Star Wars"}])
      {'3,1': [{'pid': '50'}]}
    """
    kind, search = opened.model.spec.kind, opened.search
    if opened.items is None or search is None:
        raise ConfigError(
            f"--to {engine} needs a run of the generative recommender; a model without items has "
            "nothing to map IDs to, so export it with --to hf"
        )
    if kind != "causal":
        raise ConfigError(
            f"--to {engine} needs a decoder, and this run is of kind {kind}; train with "
            "--architecture causal, or use --to hf"
        )
    if search["user_tokens"] or opened.start is None:
        raise ConfigError(
            f"--to {engine} cannot write the token of a user at the start of histories; train with "
            "--user-tokens 0, or use --to hf"
        )
    sizes = search["sizes"]
    first = opened.tokenizer.get_vocab()[id_tokens(sizes)[0]]
    starts = [sum(sizes[:level]) for level in range(len(sizes))]
    # vLLM asks for twice as many tokens as it has beams.
    beams = min(search["beams"], len(opened.items), opened.model.spec.config.vocab_size // 2)
    values = {
        "beams": beams,
        "first": first,
        "last": first + sum(sizes) - 1,
        "starts": starts,
        "sizes": ",".join(map(str, sizes)),
        "levels": len(sizes),
        "longest": search["max_items"],
        "bos": opened.start,
    }
    script, note = (text.format(**values) for text in (_SCRIPTS[engine], _NOTES[engine]))
    readme = f"""\
# A recommender for {"vLLM" if engine == "vllm" else "FlashRec"}

The model reads a history as item IDs, oldest first, behind the start token, and writes the ID of
the next item in {len(sizes)} tokens. `sid2pid.json` maps IDs to items. Run this in the directory of
this file:

```python
{script}```

{note}
"""
    table = json.dumps(sid2pid(opened.items), ensure_ascii=False)
    return {"sid2pid.json": table + "\n", "README.md": readme}


def sid2pid(items: Sequence[Mapping[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Return the items of each ID: {"codes with commas": [{"pid": the original ID}]}.

    Args:
      items: rows {"item", "id"}; an ID is written as `<a_3><b_1>`.

    Example:
      >>> sid2pid([{"item": "50", "id": "<a_3><b_1>"}, {"item": "7", "id": "<a_0><b_1>"}])
      {'3,1': [{'pid': '50'}], '0,1': [{'pid': '7'}]}
    """
    found: dict[str, list[dict[str, str]]] = {}
    for row in items:
        sid = ",".join(_CODE.findall(row["id"]))
        found.setdefault(sid, []).append({"pid": row["item"]})
    return found
