"""The skill sentence of a text: the skills that are found in it, one after the other."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jaxrec.core import DataError
from jaxrec.data import Lexicon, Matcher, word_places
from jaxrec.data.recruitment import Task
from jaxrec.runs import load_run, offered
from jaxrec.systems.recruitpro.config import AuxiliaryConfig

# Skills of each of some texts, in the order in which they stand there.
Find = Callable[[Sequence[str]], list[list[str]]]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SkillSentences:
    """Makes skill sentences and keeps them, because tasks share texts.

    Attributes:
      find: finds the skills of texts; None if there are no skill sentences.
      known: sentences that were made before.

    Example:
      >>> sentences = SkillSentences(find=lexicon_finder(["Python", "team work"]))
      >>> sentences.of(["Team work, Python and team work.", "Nothing."])
      ['Team work, Python', '']
    """

    find: Find | None
    known: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether texts have skill sentences."""
        return self.find is not None

    def of(self, texts: Sequence[str]) -> list[str]:
        """The skill sentence of each text; "" for one without skills."""
        assert self.find is not None
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        for text, skills in zip(new, self.find(new), strict=True):
            different: dict[str, str] = {}
            for skill in skills:
                # A skill counts once, as it is written first.
                different.setdefault(skill.casefold(), skill)
            self.known[text] = ", ".join(different.values())
        return [self.known[text] for text in texts]


def make_sentences(config: AuxiliaryConfig, tasks: Iterable[Task]) -> SkillSentences:
    """The skill sentences of a run.

    Args:
      config: which extractor there is.
      tasks: of the run; the lexicon has the skills of their training rows.

    Raises:
      ConfigError: the tagger's directory holds no run that tags.
      DataError: no training row names a skill, so that there is no lexicon.
    """
    if config.extractor == "none":
        return SkillSentences(find=None)
    if config.extractor == "tagger":
        return SkillSentences(find=tagger_finder(Path(config.tagger).expanduser()))
    skills = {
        skill
        for task in tasks
        for column in (task.train.skills, task.train.job_skills)
        for row in column
        for skill in row
    }
    if not skills:
        raise DataError(
            "no record of the training rows names a skill, so --auxiliary.extractor lexicon has no "
            "lexicon; name skills in the data, or choose the extractor tagger or none"
        )
    return SkillSentences(find=lexicon_finder(sorted(skills)))


def lexicon_finder(skills: Sequence[str]) -> Find:
    """Find the longest matches of known skills.

    Args:
      skills: names of skills.
    """
    matcher = Matcher.of([Lexicon.of("skill", skills)], partial=0)

    def find(texts: Sequence[str]) -> list[list[str]]:
        found = []
        for text in texts:
            places = word_places(text)
            spans = matcher.label([text[a:b] for a, b in places]).spans
            found.append([text[places[s.start][0] : places[s.end - 1][1]] for s in spans])
        return found

    return find


def tagger_finder(directory: Path) -> Find:
    """Ask a trained run of skill extraction.

    Args:
      directory: of the run.
    """
    config = load_run(directory)
    tag = offered(config, "tag")

    def find(texts: Sequence[str]) -> list[list[str]]:
        if not texts:
            return []
        return [[span.text for span in spans] for spans in tag(config, directory, texts)]

    return find
