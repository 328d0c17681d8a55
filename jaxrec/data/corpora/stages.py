"""Stages that look at one document at a time: each returns it, changed or not, or rejects it."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import DataError
from jaxrec.data.corpora import quality
from jaxrec.data.corpora.config import CorpusConfig, Quality
from jaxrec.data.corpora.documents import (
    Document,
    Read,
    Rejected,
    Source,
    read_documents,
    read_file,
)
from jaxrec.data.corpora.overlap import Overlap
from jaxrec.data.corpora.privacy import Tagger, remove_personal
from jaxrec.data.corpora.scores import (
    Identify,
    LanguageModel,
    NgramModel,
    QualityClassifier,
    Scorer,
    pareto_keeps,
)
from jaxrec.data.corpora.words import Parts, splitters

Stage = Callable[[Document], Read]
READ = "read"  # the stage that readers reject in


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hooks:
    """Functions of your own, in place of the models that the settings name.

    Attributes:
      identify: the language of a text and its probability.
      perplexity: a text's perplexity, such as under a language model.
      classify: the probability that a text is of high quality.
      tagger: (begin, end) of each name in a text, which are replaced as personal data.
    """

    identify: Identify | None = None
    perplexity: Scorer | None = None
    classify: Scorer | None = None
    tagger: Tagger | None = None


class Drops:
    """How many documents each stage was given, and why it rejected some.

    Example:
      >>> drops = Drops()
      >>> _ = drops.count("read", Document("a#0", "A film."))
      >>> _ = drops.count("read", Rejected("a#1", "empty"))
      >>> drops.rows
      {'read': {'in': 2, 'rejected': {'empty': 1}}}
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict] = {}

    def count(self, stage: str, read: Read) -> Read:
        """Count what a stage returned, and return it."""
        row = self.rows.setdefault(stage, {"in": 0, "rejected": {}})
        row["in"] += 1
        if isinstance(read, Rejected):
            row["rejected"][read.reason] = row["rejected"].get(read.reason, 0) + 1
        return read

    @property
    def left(self) -> int:
        """Number of documents that the last stage kept, to which all that are left come."""
        row = next(reversed(self.rows.values()), None)
        return row["in"] - sum(row["rejected"].values()) if row else 0

    def add(self, rows: Mapping[str, Mapping]) -> None:
        """Add the rows of another count."""
        for stage, other in rows.items():
            row = self.rows.setdefault(stage, {"in": 0, "rejected": {}})
            row["in"] += other["in"]
            row["rejected"] = dict(Counter(row["rejected"]) + Counter(other["rejected"]))


def through(
    reads: Iterable[Read], stages: Mapping[str, Stage], drops: Drops, first: str = READ
) -> Iterator[Document]:
    """Yield the documents that every stage keeps, and count the others.

    Args:
      reads: what a reader yields.
      stages: by name, in order.
      drops: counts every stage.
      first: the name of the reader; empty to count nothing of it.
    """
    for read in reads:
        if first:
            drops.count(first, read)
        for name, stage in stages.items():
            if isinstance(read, Rejected):
                break
            read = drops.count(name, stage(read))
        if isinstance(read, Document):
            yield read


def make_stages(config: CorpusConfig, hooks: Hooks) -> dict[str, Stage]:
    """Return the stages before duplicates are looked for, by name, in order.

    Raises:
      ConfigError: a setting names a splitter that is not installed.
      DataError: a reference file is missing or unusable.
    """
    found = {"language": _language_stage(config, hooks)}
    found |= rule_stages(config.quality)
    found["perplexity"] = _perplexity_stage(config, hooks)
    found["classifier"] = _classifier_stage(config, hooks)
    found["evaluation"] = _evaluation_stage(config, hooks)
    return {name: stage for name, stage in found.items() if stage is not None}


def rule_stages(settings: Quality) -> dict[str, Stage]:
    """Return the stages of the rules of quality, which share the splits of a document.

    Raises:
      ConfigError: a setting names a splitter that is not installed.

    Example:
      >>> stage = rule_stages(Quality(rules=("gopher_quality",)))["gopher_quality"]
      >>> stage(Document("a#0", "A film."))
      Rejected(id='a#0', reason='too few words')
    """
    split = splitters(settings.words)
    last = [Parts("", split)]

    def make(rule: Callable[[Parts, Any], Parts | str], limits: Any) -> Stage:
        def stage(document: Document) -> Read:
            if last[0].text is not document.text:
                last[0] = Parts(document.text, split)
            found = rule(last[0], limits)
            if isinstance(found, str):
                return Rejected(document.id, found)
            if found is last[0]:
                return document
            last[0] = found
            return dataclasses.replace(document, text=found.text)

        return stage

    rules = {name: (getattr(quality, name), getattr(settings, name)) for name in settings.rules}
    return {name: make(rule, limits) for name, (rule, limits) in rules.items()}


def privacy_stage(config: CorpusConfig, hooks: Hooks, found: Counter[str]) -> Stage:
    """Return the stage that replaces personal data, and counts in `found` what it replaces."""

    def stage(document: Document) -> Read:
        text, counts = remove_personal(document.text, config.privacy, hooks.tagger)
        found.update(counts)
        return dataclasses.replace(document, text=text) if counts else document

    return stage


def _lines(files: Sequence[str]) -> list[str]:
    """Return the lines of reference files that are not blank."""
    texts: list[str] = []
    for file in files:
        for read in read_file(Path(file), Source(form="file")):
            if isinstance(read, Rejected):
                raise DataError(f"{file}: {read.reason}; give a text with one document a line")
            texts += [line for line in read.text.splitlines() if line.strip()]
    return texts


def _language_stage(config: CorpusConfig, hooks: Hooks) -> Stage | None:
    settings, identify = config.scores, hooks.identify
    if identify is None and settings.languages:
        named = dict(entry.split("=", 1) for entry in settings.languages)
        samples = {name: _lines([file]) for name, file in named.items()}
        identify = LanguageModel(samples, config.seed)
    if identify is None:
        return None
    known = identify

    def stage(document: Document) -> Read:
        language, chance = known(document.text)
        if language not in settings.keep_languages:
            return Rejected(document.id, "other language")
        sure = chance >= settings.language_threshold
        return document if sure else Rejected(document.id, "language not sure")

    return stage


def _perplexity_stage(config: CorpusConfig, hooks: Hooks) -> Stage | None:
    settings, score = config.scores, hooks.perplexity
    if score is None and settings.ngram_texts:
        score = NgramModel(_lines(settings.ngram_texts), settings.ngram_order).perplexity
    if score is None:
        return None
    perplexity = score

    def stage(document: Document) -> Read:
        value = perplexity(document.text)
        if value < settings.min_perplexity:
            return Rejected(document.id, "perplexity too low")
        high = settings.max_perplexity and not value <= settings.max_perplexity
        return Rejected(document.id, "perplexity too high") if high else document

    return stage


def _classifier_stage(config: CorpusConfig, hooks: Hooks) -> Stage | None:
    settings, classify = config.scores, hooks.classify
    if classify is None and settings.good:
        good, bad = _lines(settings.good), _lines(settings.bad)
        classify = QualityClassifier(good, bad, config.seed)
    if classify is None:
        return None
    score = classify

    def stage(document: Document) -> Read:
        kept = pareto_keeps(score(document.text), document.id, settings.pareto, config.seed)
        return document if kept else Rejected(document.id, "low quality")

    return stage


def _evaluation_stage(config: CorpusConfig, hooks: Hooks) -> Stage | None:
    settings = config.evaluation
    if not settings.paths:
        return None
    reads = read_documents(Source(paths=settings.paths, column=settings.column))
    seen = Overlap((r.text for r in reads if isinstance(r, Document)), settings.words)
    if not len(seen.runs):
        raise DataError(
            f"--evaluation.paths {settings.paths[0]}: no document has {settings.words} words, so "
            "nothing can overlap; lower --evaluation.words or check the files"
        )

    def stage(document: Document) -> Read:
        return Rejected(document.id, "overlap") if seen(document.text) else document

    return stage
