"""Recruitment: jobs, resumes, interviews and matches, a planted world of them, and task tables.

Importing the package loads none of it; each name is imported when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.data.recruitment.adapters import (
        jobs_of_occupations as jobs_of_occupations,
        resumes_of_texts as resumes_of_texts,
        tagging_task as tagging_task,
    )
    from jaxrec.data.recruitment.catalogue import (
        Catalogue as Catalogue,
        make_catalogue as make_catalogue,
    )
    from jaxrec.data.recruitment.cleaning import (
        Cleaned as Cleaned,
        CleanOptions as CleanOptions,
        clean_recruitment as clean_recruitment,
        whiskers as whiskers,
    )
    from jaxrec.data.recruitment.matching import Traits as Traits, match_logits as match_logits
    from jaxrec.data.recruitment.options import WorldOptions as WorldOptions
    from jaxrec.data.recruitment.parsing import JobReader as JobReader
    from jaxrec.data.recruitment.reading import (
        Empty as Empty,
        Loaded as Loaded,
        read_interviews as read_interviews,
        read_jobs as read_jobs,
        read_matches as read_matches,
        read_people as read_people,
        read_recruitment as read_recruitment,
    )
    from jaxrec.data.recruitment.records import (
        SECTIONS as SECTIONS,
        SENIORITIES as SENIORITIES,
        Interview as Interview,
        Job as Job,
        Match as Match,
        Recruitment as Recruitment,
        Resume as Resume,
    )
    from jaxrec.data.recruitment.salaries import Salaries as Salaries, read_salary as read_salary
    from jaxrec.data.recruitment.statistics import (
        statistics_table as statistics_table,
        task_statistics as task_statistics,
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
    from jaxrec.data.recruitment.task_options import (
        TASKS as TASKS,
        Rare as Rare,
        TaskOptions as TaskOptions,
    )
    from jaxrec.data.recruitment.tasks import recruitment_tasks as recruitment_tasks
    from jaxrec.data.recruitment.world import (
        JobLike as JobLike,
        World as World,
        recruitment_world as recruitment_world,
    )
    from jaxrec.data.recruitment.writing import write_recruitment as write_recruitment
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
