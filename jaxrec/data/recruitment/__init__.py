"""Recruitment: jobs, resumes, interviews and matches, a planted world of them, and task tables.

Importing the package loads none of it; each name is imported when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.data.recruitment.records import (
        SECTIONS as SECTIONS,
        SENIORITIES as SENIORITIES,
        Interview as Interview,
        Job as Job,
        Match as Match,
        Recruitment as Recruitment,
        Resume as Resume,
    )
    from jaxrec.data.recruitment.task import (
        Task as Task,
        TaskKind as TaskKind,
        TaskRows as TaskRows,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
