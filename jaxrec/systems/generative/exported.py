"""The README of an exported run: how `transformers` computes the scores that jaxrec computes."""

from jaxrec.ids import ItemCodes
from jaxrec.systems.generative.config import Config

_SETUP = """\
import json
import pathlib
import re

import torch
import transformers

items = json.loads(pathlib.Path("item_ids.json").read_text("utf-8"))
ids = {{row["item"]: row["id"] for row in items}}
tokenizer = transformers.AutoTokenizer.from_pretrained(".")
model = transformers.{loader}.from_pretrained(".").eval()
"""
# Which tokens share the probability of a level's code, by `decode.normalize`.
_CODES = """\
vocabulary = tokenizer.get_vocab().items()
levels = {n: m[1] for t, n in vocabulary if (m := re.fullmatch(r"<([a-z]+)_\\d+>", t))}


def rivals(code, level):
    return [number for number, name in levels.items() if name == levels[code[level]]]
"""
_LEGAL = """\
codes = [tokenizer(i, add_special_tokens=False)["input_ids"] for i in ids.values()]


def rivals(code, level):
    return sorted({other[level] for other in codes if other[:level] == code[:level]})
"""
_SCORE = """\
def score(history, item{user}):
    read = tokenizer({start}"".join(ids[i] for i in history[-{longest}:]))["input_ids"]
    code = tokenizer(ids[item], add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = {call}
    scores = [r[code[k]] - r[rivals(code, k)].logsumexp(0) for k, r in enumerate(logits)]
    return float(sum(scores))


print(score(list(ids)[:3], list(ids)[3]{example}))
"""
_CAUSAL = "model(torch.tensor([read + code])).logits[0, -len(code) - 1 : -1]"
_SEQ2SEQ = (
    "model(torch.tensor([read]), decoder_input_ids=torch.tensor([[{start}, *code[:-1]]])).logits[0]"
)


def readme(config: Config, codes: ItemCodes, loader: str, family: str = "") -> str:
    """Return the README of an exported run, in Markdown.

    Args:
      config: of the run, resolved.
      codes: its item IDs.
      loader: the class of `transformers` that loads the model with its head.
      family: Hugging Face's model type, if it is known.

    Example:
      >>> import numpy as np
      >>> codes = ItemCodes(codes=np.array([[0, 1], [1, 0]]), sizes=(2, 2), scheme="mine")
      >>> "transformers.AutoModelForCausalLM" in readme(Config(), codes, "AutoModelForCausalLM")
      True
    """
    users = config.user_tokens
    call = _CAUSAL if config.architecture == "causal" else _SEQ2SEQ.format(start=0)
    rivals = _LEGAL if config.decode.normalize == "legal" else _CODES
    score = _SCORE.format(
        user=", user" if users else "",
        start=f'f"<user_{{zlib.crc32(user.encode()) % {users}}}>" + ' if users else "",
        longest=config.items_read,
        call=call,
        example=', "63"' if users else "",
    )
    setup = _SETUP.format(loader=loader)
    if users:
        setup = setup.replace("import re\n", "import re\nimport zlib\n")
    if rivals is _LEGAL:
        setup = setup.replace("import re\n", "")
    begin = (
        "the user's token, a hash of the user's ID"
        if users
        else "the start token, which the tokenizer writes by itself"
    )
    return f"""\
# A recommender that writes item IDs

This {family or "model"} reads a user's history as item IDs, oldest first, and writes the ID of the
next item in {codes.levels} tokens. `item_ids.json` maps items to IDs. A history begins with
{begin}. It has at most {config.items_read} items.

Run this in the directory of this file. `score` is the log-probability of an item's ID, the number
that `jaxrec recommend` shows.

```python
{setup}{rivals}

{score}```
"""
