"""Titles that a model recommends, and how many of them do not exist.

A recommender that writes titles can make them up. The share of titles that no item of the catalogue
has is the hallucination rate of generative recommendation.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric, ratio_of
from jaxrec.capacity.questions import Write
from jaxrec.capacity.task import Task
from jaxrec.core import DataError
from jaxrec.eval import invented_titles
from jaxrec.prompting import GenerateOptions, Reply

# No colon, which a title may have: "2001: A Space Odyssey".
_MARK = re.compile(r"^\s*(?:\d+\s*[.)]|[-*•](?=\s))\s*")
_QUOTES = "\"'“”‘’*_"


def read_titles(text: str) -> list[str]:
    r"""Read the titles of a list, one a line, without numbers, bullets and quotes.

    Example:
      >>> read_titles('1. "Alien" (1979)\n\n- The Matrix\n3) 2001: A Space Odyssey')
      ['"Alien" (1979)', 'The Matrix', '2001: A Space Odyssey']
    """
    lines = (_MARK.sub("", line).strip() for line in text.splitlines())
    return [line.strip(_QUOTES).strip() if line[0] == line[-1] else line for line in lines if line]


def title_task(
    name: str, about: str, source: Source, catalogue: Sequence[str], *, max_tokens: int = 200
) -> Task:
    r"""Return the task of recommending titles that exist.

    Args:
      name: of the task.
      about: one line about the data.
      source: documents with the field "prompt", which asks for a list of titles, one a line.
      catalogue: all titles that exist.
      max_tokens: most tokens of a list; a title that is cut there is left out.

    Raises:
      DataError: the catalogue is empty.

    Example:
      >>> source = Source(files=("users.jsonl",), fields=("prompt",))
      >>> task = title_task("films", "Films.", source, ["Alien (1979)"])
      >>> task.measure({}, Reply(texts=("1. Alien\n2. Alien 9",)))["invented"]
      (1, 2)
    """
    if not catalogue:
        raise DataError("the catalogue is empty; give at least one title that exists")
    options = GenerateOptions(max_tokens=max_tokens, stop=("\n\n",))

    def measure(document: Document, reply: Reply) -> Mapping[str, Any]:
        titles = read_titles(reply.text)
        if reply.truncated[0]:
            titles = titles[:-1]
        flags = invented_titles(titles, catalogue)
        return {
            "invented": (sum(flags), len(flags)),
            "titles": len(titles),
            "repeated": (len(titles) - len(set(titles)), len(titles)),
        }

    return Task(
        name=name,
        about=about,
        source=source,
        ask=lambda document, shown: Write(document["prompt"], options),
        measure=measure,
        metrics={
            "invented": Metric(ratio_of, "lower"),
            "titles": Metric(better="neither"),
            "repeated": Metric(ratio_of, "lower"),
        },
    )
