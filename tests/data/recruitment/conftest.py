"""One small planted world, and its task tables, for all tests of this folder."""

import pytest

from jaxrec.data.recruitment import WorldOptions, recruitment_tasks, recruitment_world


@pytest.fixture(scope="session")
def world():
    return recruitment_world(WorldOptions(jobs=2500, people=1200, applications=6))


@pytest.fixture(scope="session")
def tasks(world):
    return recruitment_tasks(world.recruitment)
