"""Recruitment: jobs, resumes, interviews and matches, a planted world of them, and task tables.

Importing the package loads none of it; each name is imported when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.data.recruitment.catalogue import (
        Catalogue as Catalogue,
        make_catalogue as make_catalogue,
    )
    from jaxrec.data.recruitment.matching import Traits as Traits, match_logits as match_logits
    from jaxrec.data.recruitment.options import WorldOptions as WorldOptions
    from jaxrec.data.recruitment.parsing import JobReader as JobReader
    from jaxrec.data.recruitment.records import (
        SECTIONS as SECTIONS,
        SENIORITIES as SENIORITIES,
        Interview as Interview,
        Job as Job,
        Match as Match,
        Recruitment as Recruitment,
        Resume as Resume,
    )
    from jaxrec.data.recruitment.structure import (
        Draws as Draws,
        Structure as Structure,
        make_structure as make_structure,
    )
    from jaxrec.data.recruitment.task import (
        Task as Task,
        TaskKind as TaskKind,
        TaskRows as TaskRows,
    )
    from jaxrec.data.recruitment.world import (
        JobLike as JobLike,
        World as World,
        recruitment_world as recruitment_world,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
