"""Tiny tasks of every kind for a tiny encoder over letters: skills carry the labels."""

import numpy as np

from jaxrec.data.recruitment import Task, TaskRows

SKILLS = ("aa", "bb", "cc", "dd")
FILLERS = ("x", "y", "z", "xy", "yz")


def _text(rng, skills):
    words = [*skills, *rng.choice(FILLERS, 3)]
    rng.shuffle(words)
    return " ".join(words)


def _drawn(rng, count):
    """Texts whose label is which of two skills they name; the other two skills are noise."""
    labels = np.arange(count, dtype=np.int32) % 2
    skills = [(SKILLS[label], str(rng.choice(SKILLS[2:]))) for label in labels]
    return labels, tuple(skills), tuple(_text(rng, own) for own in skills)


def _classes(rng, count):
    labels, skills, texts = _drawn(rng, count)
    return TaskRows(texts=texts, skills=skills, labels=labels)


def _pairs(rng, count):
    one, skills, texts = _drawn(rng, count)
    other, job_skills, jobs = _drawn(rng, count)
    order = rng.permutation(count)
    labels = (one == other[order]).astype(np.int32)
    return TaskRows(
        texts=texts,
        skills=skills,
        jobs=tuple(jobs[n] for n in order),
        job_skills=tuple(job_skills[n] for n in order),
        labels=labels,
    )


def _ranking(rng, count):
    one, skills, texts = _drawn(rng, count)
    other, job_skills, jobs = _drawn(rng, 12)
    relevant = rng.integers(0, 4, count).astype(np.int32)
    candidates = np.zeros((count, 4), np.int32)
    for row in range(count):
        wrong = rng.choice(np.flatnonzero(other != one[row]), 4, replace=False)
        candidates[row] = wrong
        candidates[row, relevant[row]] = rng.choice(np.flatnonzero(other == one[row]))
    return TaskRows(
        texts=texts,
        skills=skills,
        jobs=jobs,
        job_skills=job_skills,
        candidates=candidates,
        relevant=relevant,
    )


def _numbers(rng, count):
    labels, skills, texts = _drawn(rng, count)
    return TaskRows(texts=texts, skills=skills, values=(labels * 2 - 1).astype(np.float32))


def _tagged(rng, count):
    words, tags = [], []
    for _ in range(count):
        row = [str(rng.choice([*SKILLS, *FILLERS])) for _ in range(5)]
        words.append(tuple(row))
        tags.append(tuple("S-skill" if word in SKILLS else "O" for word in row))
    return TaskRows(words=tuple(words), tags=tuple(tags))


_MADE = {
    "jd_1st_class": ("classification", _classes, ("a", "b")),
    "pj_fit": ("matching", _pairs, ()),
    "jd_recom": ("ranking", _ranking, ()),
    "salary": ("regression", _numbers, ()),
    "skills": ("tagging", _tagged, ()),
}


def planted_tasks(names=tuple(_MADE), train=64, held=16, seed=0):
    """The tasks of some names."""
    found = []
    for name in names:
        kind, make, classes = _MADE[name]
        rng = np.random.default_rng(seed + 10)
        parts = [make(rng, count) for count in (train, held, held)]
        found.append(
            Task(
                name=name,
                kind=kind,
                train=parts[0],
                valid=parts[1],
                test=parts[2],
                classes=classes,
                synthetic=True,
            )
        )
    return tuple(found)
