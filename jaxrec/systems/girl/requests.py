"""Jobs for a resume from elsewhere: read, described by the policy, and grounded to real jobs."""

from collections.abc import Sequence

import jax
import numpy as np

from jaxrec.align import POLICY
from jaxrec.data import read_occupations
from jaxrec.data.corpora import encode_documents, find_text
from jaxrec.data.recruitment import Job
from jaxrec.decode import Sampling, TextOptions, complete
from jaxrec.runs import RecommendedItem, TextRecommendations
from jaxrec.systems.girl.data import GirlData
from jaxrec.systems.girl.grounding import Catalogue, as_resume, grounded_scores
from jaxrec.systems.girl.models import REWARD, Models


def answer_text(models: Models, data: GirlData, text: str, top: int) -> TextRecommendations:
    """Recommend jobs for a resume: the catalogue is that of the run, or O*NET's occupations.

    Args:
      models: of a trained run.
      data: of the run, whose skills the generator knows.
      text: the resume, of any form.
      top: number of jobs.

    Raises:
      DataError: a resume without a known skill, or a file of occupations that cannot be read.
    """
    settings = models.config.grounding
    facts = models.config.data.facts
    read = as_resume(text, data.skills, settings.skills, facts=facts)
    catalogue = make_catalogue(models, data)
    (prompt,) = models.writer.texts([read])
    variables = models.trained_policy(models.config.max_prompt)
    written = complete(
        models.text.model,
        variables[POLICY],
        models.text.tokenizer,
        [prompt] * settings.descriptions,
        TextOptions(max_tokens=models.config.ppo.response),
        sampling=Sampling(temperature=models.config.ppo.temperature),
        key=jax.random.key(models.config.train.seed),
    )
    descriptions = [description.strip() for description in written]
    shortened = _shortened(models, catalogue.texts)
    rewards = models.reward_model(REWARD).rewards([prompt] * len(shortened), shortened)
    near = catalogue.similarities([*descriptions, read])
    scores = grounded_scores(rewards, near, settings.similarity)
    best = np.argsort(-scores, kind="stable")[:top].tolist()
    return TextRecommendations(
        read=read,
        written=tuple(descriptions),
        items=tuple(
            RecommendedItem(
                item=job,
                title=catalogue.titles[job],
                score=float(scores[job]),
                reason=reason_of(catalogue, job, read, descriptions),
            )
            for job in best
        ),
        score="reward and similarity to the written descriptions, in standard deviations",
    )


def make_catalogue(models: Models, data: GirlData) -> Catalogue:
    """The jobs that descriptions are grounded to.

    Raises:
      DataError: the file of occupations is missing or damaged.
    """
    path = models.config.grounding.occupations
    if not path:
        jobs = data.world.recruitment.jobs
        return Catalogue([job.title for job in jobs], data.jobs)
    found = read_occupations(find_text(path))
    jobs = tuple(
        Job(id=str(n), title=one.title, responsibilities=one.description)
        for n, one in enumerate(found)
    )
    return Catalogue([job.title for job in jobs], [job.text() for job in jobs])


def reason_of(catalogue: Catalogue, job: int, resume: str, descriptions: Sequence[str]) -> str:
    """Why a job is recommended: the words that it shares with the resume and the descriptions.

    Example:
      >>> jobs = Catalogue(["Baker", "Nurse"], ["bakes fresh bread", "cares for people"])
      >>> reason_of(jobs, 0, "I like bread", ["They bake fresh bread."])
      'It shares bread with the resume, and fresh with the descriptions written for it.'
      >>> reason_of(jobs, 1, "I like bread", ["They bake fresh bread."])
      'The reward model prefers it; it shares no words with the resume or the descriptions.'
    """
    own = catalogue.shared(job, resume)
    more = [word for word in catalogue.shared(job, "\n".join(descriptions)) if word not in own]
    parts = [f"{', '.join(own)} with the resume"] if own else []
    parts += [f"{', '.join(more)} with the descriptions written for it"] if more else []
    if not parts:
        return (
            "The reward model prefers it; it shares no words with the resume or the descriptions."
        )
    return f"It shares {', and '.join(parts)}."


def _shortened(models: Models, texts: Sequence[str]) -> list[str]:
    """Texts cut to as many tokens as a description may have; the reward model reads no more."""
    tokenizer, most = models.text.tokenizer, models.config.ppo.response - 1
    rows = encode_documents(tokenizer, texts)
    return [
        text if len(row) <= most else tokenizer.decode(row[:most])
        for text, row in zip(texts, rows, strict=True)
    ]
