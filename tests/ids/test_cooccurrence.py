"""Items met together, counted by hand, and their mutual information by its formula."""

import numpy as np
import scipy.sparse as sp

from jaxrec.ids.cooccurrence import cooccurrence, ppmi


def test_a_window_counts_pairs_by_distance_within_one_history():
    histories = [np.array([0, 1, 2]), np.array([3, 0])]
    found = cooccurrence(histories, 4, window=2, decay=0.5).toarray()
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 2] = expected[3, 0] = 1
    expected[0, 2] = 0.5
    np.testing.assert_array_equal(found, expected + expected.T)
    whole = cooccurrence(histories, 4).toarray()
    np.testing.assert_array_equal(whole, (expected + expected.T) > 0)


def test_ppmi_equals_the_formula():
    n = np.array([[0, 4, 1], [4, 0, 1], [1, 1, 0]], float)
    context = n.sum(0) ** 0.75
    with np.errstate(divide="ignore"):
        pmi = np.log(n / n.sum(1, keepdims=True) * context.sum() / context)
    counts = sp.csr_array(n)
    np.testing.assert_allclose(ppmi(counts, 0.75).toarray(), np.maximum(pmi, 0))
    np.testing.assert_array_equal(counts.toarray(), n)
