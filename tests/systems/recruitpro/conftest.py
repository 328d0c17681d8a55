"""A tiny encoder over letters, a tiny config, and planted tasks in place of records."""

import numpy as np
import pytest

from jaxrec.data.recruitment import Task, TaskRows
from jaxrec.systems.recruitpro import (
    AuxiliaryConfig,
    EncoderConfig,
    InputConfig,
    RecruitEvalConfig,
    RecruitProConfig,
    run,
)
from jaxrec.systems.recruitpro.data import TaskData
from jaxrec.testing import write_tiny_encoder
from jaxrec.train import TrainConfig

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
    "person_job_fit": ("matching", _pairs, ("unmatched", "matched")),
    "job_recommendation": ("ranking", _ranking, ()),
    "salary": ("regression", _numbers, ()),
    "skill_extraction": ("tagging", _tagged, ()),
}


def _planted(names=tuple(_MADE), train=64, held=16, seed=0):
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


@pytest.fixture(scope="session")
def planted_tasks():
    return _planted


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    return str(write_tiny_encoder(tmp_path_factory.mktemp("recruitpro") / "encoder"))


@pytest.fixture
def tiny(encoder):
    def make(**changed):
        settings = {
            "encoder": EncoderConfig(base=encoder),
            "input": InputConfig(
                slots=(1, 2, 1, 1), text_tokens=16, skill_tokens=6, chunk_tokens=9, chunks=2
            ),
            "auxiliary": AuxiliaryConfig(similarity=0.1, comparison=0.1),
            "pairs": 8,
            "dropout": 0.0,
            "train": TrainConfig(
                steps=40, batch_size=16, lr=5e-3, warmup_steps=0, eval_every=20, log_every=20
            ),
            "eval": RecruitEvalConfig(batch_size=16, resamples=20),
        }
        return RecruitProConfig(**settings | changed)

    return make


@pytest.fixture
def planted(monkeypatch):
    """Give runs the planted tasks of some names."""

    def use(*names):
        tasks = _planted(names)
        data = TaskData(name="planted", tasks=tasks)
        monkeypatch.setattr(run, "load_tasks", lambda *settings: data)
        return tasks

    return use
