"""A probe of the path selector: paths of which one tells the answer, and the others nothing.

The users of the data are split at random into two halves, and 20 of each are asked. In each
question one path says truly what the user asked about will answer, and belongs to a user of the
first half. The others belong to users of the second half and say anything. A selector that learns
to weigh paths puts the first one above the others, wherever it stands.
"""

import numpy as np

from jaxrec.systems.glrec.paths import Path

_USERS = 20


def planted_paths(
    asked: np.ndarray, label: np.ndarray, num_users: int, count: int, kinds: tuple[int, int]
) -> tuple[list[list[Path]], np.ndarray]:
    """Make up the paths of questions.

    Args:
      asked: `[N]` item asked about.
      label: `[N]` bool, whether the user will like it.
      num_users: U, number of users that paths may name.
      count: M, number of paths of a question.
      kinds: types of edges that mean a dislike and a like.

    Returns:
      M paths for each question, and `[N]` the place of the one that tells the answer.

    Example:
      >>> import numpy as np
      >>> from jaxrec.systems.glrec.planted import planted_paths
      >>> paths, place = planted_paths(np.array([7]), np.array([True]), 50, 3, (0, 1))
      >>> paths[0][place[0]].kinds
      (1,)
    """
    rng = np.random.default_rng(0)
    users = rng.permutation(num_users)
    half = max(min(_USERS, num_users // 2), 1)
    true, other = users[:half].tolist(), users[half : 2 * half].tolist()
    place = rng.integers(count, size=len(asked))
    found = []
    for row, (item, liked) in enumerate(zip(asked.tolist(), label.tolist(), strict=True)):
        paths = [
            Path("user-item", (other[rng.integers(len(other))], item), (kinds[rng.integers(2)],))
            for _ in range(count)
        ]
        telling = true[rng.integers(len(true))]
        paths[place[row]] = Path("user-item", (telling, item), (kinds[int(liked)],))
        found.append(paths)
    return found, place
