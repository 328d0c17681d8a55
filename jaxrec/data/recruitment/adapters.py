"""Real public sets as records and tasks: O*NET's occupations, labeled resumes, and tagged texts."""

import re
from collections.abc import Iterable, Sequence

from jaxrec.core import DataError
from jaxrec.data import Occupation, TaggedText, TagSet
from jaxrec.data.recruitment.builtin import MAJOR_GROUPS
from jaxrec.data.recruitment.records import Job, Resume
from jaxrec.data.recruitment.task import Task, TaskRows

_CODE = re.compile(r"\d\d-\d\d\d\d(\.\d\d)?")


def jobs_of_occupations(occupations: Iterable[Occupation]) -> list[Job]:
    """Read O*NET's occupations as job descriptions, with the tree of their codes.

    A code such as 11-1011.02 is of the major group 11, the minor group 11-1000 and the occupation
    11-1011, which several descriptions may have.

    Args:
      occupations: as `read_occupations` reads them.

    Raises:
      DataError: an occupation has no code.

    Example:
      >>> jobs = jobs_of_occupations([Occupation("Bakers", "Bake bread.", "51-3011.00")])
      >>> jobs[0].industry, jobs[0].category, jobs[0].occupation
      ('production', '51-3000', '51-3011')
    """
    jobs = []
    for occupation in occupations:
        code = occupation.code
        if not _CODE.fullmatch(code):
            raise DataError(
                f"occupation {occupation.title!r} has the code {code!r}, no O*NET-SOC code such as "
                "11-1011.00; give O*NET's table with codes"
            )
        jobs.append(
            Job(
                id=code,
                title=occupation.title,
                industry=MAJOR_GROUPS.get(code[:2], f"major group {code[:2]}"),
                category=f"{code[:4]}000",
                occupation=code[:7],
                responsibilities=occupation.description,
            )
        )
    return jobs


def resumes_of_texts(
    names: Sequence[str], texts: Sequence[TaggedText], kinds: Sequence[str]
) -> list[Resume]:
    """Take labeled resumes as records; the words of some kinds of labels are their skills.

    Args:
      names: an ID for each resume.
      texts: as words; `Resume.tagged` of `read_resumes` makes them.
      kinds: labels that name skills, such as "Tech Tools".

    Raises:
      DataError: no resume has a label of these kinds.

    Example:
      >>> from jaxrec.data import Span
      >>> text = TaggedText(("I", "know", "Java"), (Span(2, 3, "Tech Tools"),))
      >>> resumes_of_texts(["1"], [text], ["Tech Tools"])[0].skills
      ('Java',)
    """
    resumes = []
    for name, text in zip(names, texts, strict=True):
        phrases = [" ".join(words) for kind in kinds for words in text.phrases(kind)]
        resumes.append(
            Resume(id=name, basic=" ".join(text.words), skills=tuple(dict.fromkeys(phrases)))
        )
    if not any(resume.skills for resume in resumes):
        found = sorted({span.kind for text in texts for span in text.spans})
        raise DataError(
            f"no resume has a label of the kinds {', '.join(kinds)}; kinds: {', '.join(found)}"
        )
    return resumes


def tagging_task(
    train: Sequence[TaggedText],
    valid: Sequence[TaggedText],
    test: Sequence[TaggedText],
    kind: str,
) -> Task:
    """The task of skill extraction from real tagged texts, such as SkillSpan's parts.

    Args:
      train: texts to train on.
      valid: texts that choose checkpoints.
      test: texts that are read once.
      kind: of the spans that are tagged.

    Raises:
      DataError: the training texts have no span of this kind.

    Example:
      >>> from jaxrec.data import Span
      >>> texts = [TaggedText(("know", "Python"), (Span(1, 2, "skill"),))]
      >>> tagging_task(texts, texts, texts, "skill").test.tags
      (('O', 'S-skill'),)
    """
    if not any(text.of_kind(kind) for text in train):
        raise DataError(f"no training text has a span of the kind {kind!r}")
    parts = [
        TaskRows(
            words=tuple(text.words for text in texts),
            tags=tuple(tuple(text.tags(kind)) for text in texts),
            skills=tuple(tuple(" ".join(words) for words in t.phrases(kind)) for t in texts),
        )
        for texts in (train, valid, test)
    ]
    return Task(
        name="skill_extraction",
        kind="tagging",
        train=parts[0],
        valid=parts[1],
        test=parts[2],
        classes=TagSet((kind,)).names,
    )
