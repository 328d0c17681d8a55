"""How similar a new instruction is to all known ones: ROUGE-L F1 against a growing pool.

F1 = 2 L / (m + n) with L the length of the longest common subsequence of two texts of m and n
words. With the rows of the pool as a matrix, one row of the table of L follows from the row before
by a running maximum, for all texts of the pool at once:

    L[i, j] = max_{k ≤ j} max(L[i - 1, k], L[i - 1, k - 1] + [a_i = b_k])
"""

import re

import numpy as np

_WORD = re.compile(r"[a-z0-9]+")


def rouge_words(text: str) -> list[str]:
    """Words as ROUGE counts them: letters and digits in lowercase, without a stemmer.

    Example:
      >>> from jaxrec.texts import rouge_words
      >>> rouge_words("Don't draw 3-D maps!")
      ['don', 't', 'draw', '3', 'd', 'maps']
    """
    return _WORD.findall(text.lower())


class NoveltyPool:
    """A pool of texts that new ones are compared with.

    Example:
      >>> from jaxrec.texts import NoveltyPool
      >>> pool = NoveltyPool(["Name a capital city.", "Add two numbers."])
      >>> pool.scores("Name a city.").round(3).tolist()
      [0.857, 0.0]
      >>> pool.nearest("Name a city.")[0]
      'Name a capital city.'
    """

    def __init__(self, texts: list[str] | tuple[str, ...] = ()) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self._words = np.full((16, 16), -1, np.int32)
        self._lengths = np.zeros(16, np.int64)
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, text: str) -> None:
        """Add a text to the pool."""
        words = [self._numbers.setdefault(w, len(self._numbers)) for w in rouge_words(text)]
        count, (rows, width) = len(self.texts), self._words.shape
        if count == rows or len(words) > width:
            # Room doubles, so that the texts are copied a few times and not for every new one.
            shape = rows * (1 + (count == rows)), max(width, 2 * len(words) * (len(words) > width))
            larger = np.full(shape, -1, np.int32)
            larger[:rows, :width] = self._words
            self._words = larger
            self._lengths = np.resize(self._lengths, shape[0])
        self._words[count] = -1
        self._words[count, : len(words)] = words
        self._lengths[count] = len(words)
        self.texts.append(text)

    def scores(self, text: str) -> np.ndarray:
        """ROUGE-L F1 with every text of the pool: `[N]` float64.

        Cost: words of the text times cells of the pool, in NumPy.
        """
        count = len(self.texts)
        pool, lengths = self._words[:count], self._lengths[:count]
        pool = pool[:, : int(lengths.max(initial=0))]
        # The first column is the empty prefix.
        common = np.zeros((count, pool.shape[1] + 1), np.int32)
        words = [self._numbers.get(word, -2) for word in rouge_words(text)]
        for word in words:
            longer = common.copy()
            longer[:, 1:] = np.maximum(common[:, 1:], common[:, :-1] + (pool == word))
            common = np.maximum.accumulate(longer, axis=1)
        both = len(words) + lengths
        return 2 * common[:, -1] / np.maximum(both, 1)

    def nearest(self, text: str) -> tuple[str, float]:
        """The text of the pool that is most similar, and its score; ("", 0.0) for an empty pool."""
        if not self.texts:
            return "", 0.0
        scores = self.scores(text)
        best = int(scores.argmax())
        return self.texts[best], float(scores[best])
