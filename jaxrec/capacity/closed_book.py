r"""Questions about facts: from memory (closed book), and with passages to read (open book).

Roberts et al., How Much Knowledge Can You Pack Into the Parameters of a Language Model?
(arXiv:2002.08910), and Chen et al., Reading Wikipedia to Answer Open-Domain Questions
(arXiv:1704.00051). Answers count if they equal one of several right spellings after normalization,
see `jaxrec.eval.exact_match`. The passages of the open book are found by BM25.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrec.capacity.documents import ID, Document, Source, field_names, find_files
from jaxrec.capacity.estimates import Metric
from jaxrec.capacity.questions import Write
from jaxrec.capacity.task import Task
from jaxrec.core import ConfigError, DataError
from jaxrec.data import read_json_rows
from jaxrec.eval import exact_match, normalize_answer, token_f1
from jaxrec.prompting import Bm25, GenerateOptions, Reply

# lm-evaluation-harness, task triviaqa.
_OPTIONS = GenerateOptions(max_tokens=32, stop=("\n", ".", ","))


def right_answers(document: Document) -> tuple[str, ...]:
    """Return the right spellings of an answer in the forms of TriviaQA, NQ-open and WebQuestions.

    Args:
      document: with the field "answers" or "answer": a text, a list of texts, or an object with
        "aliases" and "value".

    Raises:
      DataError: there is none.

    Example:
      >>> right_answers({"answer": {"value": "UK", "aliases": ["Great Britain", "UK"]}})
      ('UK', 'Great Britain')
      >>> right_answers({"answers": ["1066"]}), right_answers({"answer": "1066"})
      (('1066',), ('1066',))
    """
    found = document.get("answers", document.get("answer"))
    if isinstance(found, Mapping):
        found = [found.get("value"), *(found.get("aliases") or ())]
    elif isinstance(found, str):
        found = [found]
    texts = [a for a in found if isinstance(a, str) and a] if isinstance(found, list) else []
    if not texts:
        raise DataError(
            f"{document.get(ID, 'a document')} has no right answer; expected the field answers or "
            "answer with a text, a list of texts, or value and aliases; got "
            f"{field_names(document)}"
        )
    return tuple(dict.fromkeys(texts))


def _question(document: Document) -> str:
    """The passages, the question with one question mark, and where the answer goes."""
    passages = "".join(f"{text}\n" for text in document.get("passages", ()))
    return f"{passages}Question: {document['question'].rstrip().rstrip('?')}?\nAnswer:"


def _ask(document: Document, shown: str) -> Write:
    return Write(shown + _question(document), _OPTIONS)


def _show(document: Document) -> str:
    return f"{_question(document)} {right_answers(document)[0]}\n\n"


def _measure(document: Document, reply: Reply) -> dict[str, float]:
    right = right_answers(document)
    return {"exact_match": exact_match(reply.text, right), "token_f1": token_f1(reply.text, right)}


_METRICS = {"exact_match": Metric(), "token_f1": Metric()}


def closed_book_task(name: str, about: str, source: Source, *, shots: int = 5) -> Task:
    r"""Return the task of answering questions from memory.

    Args:
      name: of the task.
      about: one line about the questions.
      source: documents with the field "question" and those of `right_answers`.
      shots: number of demonstrations.

    Example:
      >>> source = Source(files=("quiz.jsonl",), fields=("question",))
      >>> closed_book_task("quiz", "A quiz.", source).ask({"question": "Who?"}, "").prompt
      'Question: Who?\nAnswer:'
    """
    return Task(
        name=name,
        about=about,
        source=source,
        ask=_ask,
        measure=_measure,
        metrics=_METRICS,
        show=_show,
        shots=shots,
    )


def open_book_task(
    name: str,
    about: str,
    source: Source,
    passages: str,
    *,
    read: int = 3,
    ks: Sequence[int] = (1, 3, 10),
    shots: int = 0,
) -> Task:
    """Return the task of answering questions with the passages that BM25 finds.

    `answer_found@k` is the share of questions of which one of the first k passages holds a right
    answer (Karpukhin et al., Dense Passage Retrieval, arXiv:2004.04906). `recall@k` is the share of
    a question's gold passages among the first k.

    Args:
      name: of the task.
      about: one line about the questions.
      source: documents with the fields "question", those of `right_answers`, and "gold", the list
        of the ids of the passages that hold the answer.
      passages: name of a file of JSON lines below the data directory, with the fields "id" and
        "text".
      read: number of passages in the prompt, the best one last, next to the question.
      ks: numbers of passages of the retrieval metrics.
      shots: number of demonstrations.

    Raises:
      ConfigError: a number below 1, or a source that already prepares its documents.

    Example:
      >>> source = Source(files=("quiz.jsonl",), fields=("question", "gold"))
      >>> list(open_book_task("quiz", "A quiz.", source, "wiki.jsonl", ks=(5,)).metrics)
      ['exact_match', 'token_f1', 'answer_found@5', 'recall@5']
    """
    if read < 1 or not ks or min(ks) < 1:
        raise ConfigError(f"read and each of ks must be at least 1, got {read} and {list(ks)}")
    if source.prepare is not None:
        raise ConfigError(
            "the passages are added by prepare, which this source already has; prepare the file "
            "before"
        )
    deepest = max(read, *ks)

    def prepare(documents: list[Document], directory: Path) -> list[Document]:
        (path,) = find_files(Source(files=(passages,)), directory)
        index, ids = _index(path)
        return [_with_passages(d, index, ids, read, deepest) for d in documents]

    def measure(document: Document, reply: Reply) -> dict[str, float]:
        right = [f" {normalize_answer(answer)} " for answer in right_answers(document)]
        texts = [f" {normalize_answer(text)} " for text in document["found_texts"]]
        holds = [any(answer in text for answer in right) for text in texts]
        gold = {str(name) for name in document["gold"]}
        found = document["found"]
        return {
            **_measure(document, reply),
            **{f"answer_found@{k}": float(any(holds[:k])) for k in ks},
            **{f"recall@{k}": len(gold & set(found[:k])) / len(gold) for k in ks},
        }

    names = (*(f"answer_found@{k}" for k in ks), *(f"recall@{k}" for k in ks))
    return Task(
        name=name,
        about=about,
        source=Source(
            files=source.files,
            fields=tuple(dict.fromkeys((*source.fields, "question", "gold"))),
            make=source.make,
            prepare=prepare,
            held_out=source.held_out,
        ),
        ask=_ask,
        measure=measure,
        metrics={**_METRICS, **{metric: Metric() for metric in names}},
        show=_show,
        shots=shots,
    )


def _index(path: Path) -> tuple[Bm25, list[str]]:
    rows = read_json_rows(path, "passages", ["id", "text"])
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get("text"), str) or row.get("id") in (None, ""):
            raise DataError(f"{path}: passage {number} needs the fields id and text")
    return Bm25([row["text"] for row in rows]), [str(row["id"]) for row in rows]


def _with_passages(
    document: Document, index: Bm25, ids: Sequence[str], read: int, deepest: int
) -> dict[str, Any]:
    if not isinstance(document.get("gold"), list) or not document["gold"]:
        raise DataError(
            f"{document[ID]} needs the field gold, a list of the ids of the passages that hold the "
            "answer"
        )
    places = [place for place, _ in index.search(document["question"], deepest)]
    texts = [index.documents[place] for place in places]
    return {
        **document,
        "found": [ids[place] for place in places],
        "found_texts": texts,
        "passages": texts[:read][::-1],
    }


TRIVIAQA = closed_book_task(
    "triviaqa",
    "trivia from memory (TriviaQA, Joshi et al. 2017)",
    Source(files=("triviaqa/*.jsonl",), fields=("question",)),
)
NQ_OPEN = closed_book_task(
    "nq_open",
    "questions to a search engine from memory (Natural Questions, Lee et al. 2019)",
    Source(files=("nq_open/*.jsonl",), fields=("question",)),
)
WEB_QUESTIONS = closed_book_task(
    "web_questions",
    "questions about Freebase from memory (WebQuestions, Berant et al. 2013)",
    Source(files=("web_questions/*.jsonl",), fields=("question",)),
)
