"""Language modelling: the likelihood of whole texts, and of the last words of passages.

WikiText-2 is due to Merity et al., Pointer Sentinel Mixture Models (arXiv:1609.07843), and the task
of the last word to Paperno et al., The LAMBADA Dataset (ACL 2016). Every token of a text is scored
once, in windows as long as the model's context. Perplexities by word and by byte divide by the
words and bytes of the file, so that models with other tokenizers can be compared.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric, bits_of, perplexity_of
from jaxrec.capacity.questions import Follow, Read
from jaxrec.capacity.task import Task
from jaxrec.prompting import Score, TextScore

# Empty lines tell a heading from a line of a formula.
_HEADING = re.compile(r"(?:\A|(?<=\A \n)|(?<=\n \n)) = [^=\n]([^\n]*[^=\n])? = \n(?= \n)")
# Least number of words before the last one of a passage.
_LEAST = 10
# WikiText separates signs by spaces. Each row undoes one of its rules; their order matters.
_JOINED = (
    (r"s '", "s'"),
    *((rf" @{re.escape(sign)}@ ", sign) for sign in "-,."),
    *((rf" {re.escape(sign)} ", f"{sign} ") for sign in ":;.!?,"),
    (r"\(\s*([^)]*?)\s*\)", r"(\1)"),
    (r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
    (r"\{\s*([^}]*?)\s*\}", r"{\1}"),
    (r'"\s*([^"]*?)\s*"', r'"\1"'),
    (r"'\s*([^']*?)\s*'", r"'\1'"),
    (r"= = = =", "===="),
    (r"= = =", "==="),
    (r"= =", "=="),
    (r" ° ", "°"),
    (r" \n", "\n"),
    (r"\n ", "\n"),
    (r" N ", " 1 "),
    (r" 's", "'s"),
)
_JOINS = tuple((re.compile(pattern), text) for pattern, text in _JOINED)


def join_wikitext(text: str) -> str:
    """Return a text of WikiText as it is usually written: "( 1 @,@ 000 )" becomes "(1,000)".

    Example:
      >>> join_wikitext('He said , " 1 @,@ 000 ( or so ) " . ')
      'He said, "1,000 (or so)". '
    """
    for pattern, replacement in _JOINS:
        text = pattern.sub(replacement, text)
    return text


def wikitext_pages(text: str) -> list[str]:
    r"""Cut a file of WikiText into its pages, which begin with a heading of the first level.

    Example:
      >>> wikitext_pages(" \n = One = \n \n Text . \n \n = Two = \n \n More . \n")
      [' = One = \n \n Text . \n \n', ' = Two = \n \n More . \n']
    """
    starts = [match.start() for match in _HEADING.finditer(text)]
    if text[: starts[0] if starts else len(text)].strip():
        starts = [0, *starts]
    return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


def _pages(documents: list[Document], directory: Path) -> list[Document]:
    return [{"text": page} for document in documents for page in wikitext_pages(document["text"])]


def _read(document: Document, shown: str) -> Read:
    return Read(join_wikitext(document["text"]))


def text_values(text: str, score: TextScore) -> dict[str, tuple[float, float]]:
    """Return what the perplexities by token, word and byte and the bits per byte are made of.

    Args:
      text: as it stands in the file.
      score: of its tokens.

    Example:
      >>> text_values("to be", TextScore(logprobs=(-1.0, -2.0)))["byte_perplexity"]
      (-3.0, 5.0)
    """
    total = score.logprob
    sizes = {
        "token_perplexity": len(score.logprobs),
        "word_perplexity": len(text.split()),
        "byte_perplexity": len(text.encode()),
    }
    sizes["bits_per_byte"] = sizes["byte_perplexity"]
    return {name: (total, float(size)) for name, size in sizes.items()}


def _measure_text(document: Document, score: TextScore) -> Mapping[str, tuple[float, float]]:
    return text_values(document["text"], score)


TEXT_METRICS: Mapping[str, Metric] = {
    "token_perplexity": Metric(perplexity_of, "lower"),
    "word_perplexity": Metric(perplexity_of, "lower"),
    "byte_perplexity": Metric(perplexity_of, "lower"),
    "bits_per_byte": Metric(bits_of, "lower"),
}


def last_words(text: str) -> list[Document]:
    r"""Split each line of a text into its last word and the passage before it.

    Lines with fewer than ten words before the last are left out, and so are WikiText's headings and
    lines that end with an unknown word. What follows the last word, such as a full stop, belongs to
    neither part.

    Example:
      >>> last_words("A line.\n" + "very " * 10 + "long .\n")[0]["word"]
      'long'
    """
    rows: list[Document] = []
    for line in text.splitlines():
        found = re.fullmatch(r"(.*\S)\s+(\w[\w'’-]*)\W*", line)
        if (
            found
            and len(found[1].split()) >= _LEAST
            and not line.lstrip().startswith("=")
            and not line.rstrip(" .").endswith("<unk>")
        ):
            rows.append({"passage": found[1].strip(), "word": found[2]})
    return rows


def _passages(documents: list[Document], directory: Path) -> list[Document]:
    return [row for d in documents for row in last_words(join_wikitext(d["text"]))]


def _lambada(documents: list[Document], directory: Path) -> list[Document]:
    """LAMBADA's passages end with the word, without a full stop."""
    parts = [str(document.get("text", "")).rpartition(" ") for document in documents]
    return [{"passage": passage, "word": word} for passage, _, word in parts]


def _follow(document: Document, shown: str) -> Follow:
    return Follow(document["passage"], f" {document['word']}")


def _measure_word(document: Document, score: Score) -> Mapping[str, object]:
    return {"accuracy": float(score.greedy), "perplexity": (score.logprob, 1.0)}


def last_word_task(name: str, about: str, files: Sequence[str]) -> Task:
    """Return the task of predicting the last word of each line of text files.

    The accuracy counts passages whose last word the model would write token by token; the
    perplexity is that of the word.

    Args:
      name: of the task.
      about: one line about the files.
      files: names of text files below the data directory.

    Example:
      >>> last_word_task("novels", "Last words of lines.", ["novels.txt"]).source.files
      ('novels.txt',)
    """
    return _words(name, about, Source(files=tuple(files), prepare=_passages))


def _words(name: str, about: str, source: Source) -> Task:
    return Task(
        name=name,
        about=about,
        source=source,
        ask=_follow,
        measure=_measure_word,
        metrics={"accuracy": Metric(), "perplexity": Metric(perplexity_of, "lower")},
    )


WIKITEXT = Task(
    name="wikitext2",
    about="perplexity by token, word and byte on the pages of WikiText-2's test part",
    source=Source(files=("wikitext-2/test.txt",), prepare=_pages),
    ask=_read,
    measure=_measure_text,
    metrics=TEXT_METRICS,
)
LAST_WORD = last_word_task(
    "last_word",
    "the last word of each paragraph of WikiText-2's test part",
    ["wikitext-2/test.txt"],
)
LAMBADA = _words(
    "lambada",
    "the last word of passages that need their whole context (LAMBADA)",
    Source(files=("lambada/*.jsonl",), fields=("passage", "word"), prepare=_lambada),
)
