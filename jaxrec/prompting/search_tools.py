"""Search as a tool: in documents, and in the titles of a catalogue, both by BM25."""

from collections.abc import Sequence

from jaxrec.core import ConfigError
from jaxrec.data import ItemTable
from jaxrec.prompting.bm25 import Bm25
from jaxrec.prompting.tools import Tool, ToolError


def search_tool(
    documents: Sequence[str], *, count: int = 1, most: int = 500, name: str = "Search"
) -> Tool:
    """Make a tool that returns the documents that fit a query best.

    Args:
      documents: texts.
      count: most documents of a result, on a line each.
      most: characters of a document; the rest is cut off and replaced by "...".
      name: of the tool.

    Returns:
      The tool. It fails as "no_match" if no document has a word of the input.

    Raises:
      ConfigError: see `Bm25`, or a number below 1.

    Example:
      >>> search_tool(["Paris is in France.", "Rome is in Italy."]).run("Where is Rome?")
      'Rome is in Italy.'
    """
    if count < 1 or most < 1:
        raise ConfigError(f"count and most must be at least 1, got {count} and {most}")
    index = Bm25(documents)
    lines = [" ".join(text.split()) for text in documents]
    shown = [line if len(line) <= most else f"{line[:most]}..." for line in lines]

    def run(query: str) -> str:
        return "\n".join(shown[number] for number in _matches(index, query, count, "document"))

    return Tool(name, "Returns the document that fits its input best.", run)


def catalogue_tool(
    items: ItemTable, *, fields: Sequence[str] = ("title",), count: int = 5, name: str = "Catalogue"
) -> Tool:
    """Make a tool that finds items of a catalogue by the words of their texts.

    Args:
      items: the catalogue.
      fields: fields that are searched; the first one is returned.
      count: most items of a result.
      name: of the tool.

    Returns:
      The tool. Its result lists titles, separated by "; ". It fails as "no_match" if no item has a
      word of the input.

    Raises:
      ConfigError: see `Bm25`, no fields, or `count` below 1.
      DataError: the catalogue does not have one of the fields.

    Example:
      >>> import numpy as np
      >>> titles = np.array(["Alien (1979)", "Heat (1995)", "Aliens (1986)"], dtype=object)
      >>> catalogue = ItemTable(np.array(["1", "2", "3"]), {"title": titles})
      >>> catalogue_tool(catalogue).run("alien 1986")
      'Alien (1979); Aliens (1986)'
    """
    if not fields or count < 1:
        raise ConfigError(f"fields must name a field and count be at least 1, got {count}")
    index = Bm25(items.text(*fields))
    titles = items.text(fields[0])

    def run(query: str) -> str:
        return "; ".join(titles[number] for number in _matches(index, query, count, "item"))

    return Tool(name, "Returns titles of the catalogue that have the words of its input.", run)


def _matches(index: Bm25, query: str, count: int, what: str) -> list[int]:
    found = [number for number, _ in index.search(query, count)]
    if not found:
        raise ToolError("no_match", f"no {what} has a word of {query[:100]!r}")
    return found
