"""The lists of modules in an adapter's settings, against the modules that PyTorch's models have."""

import re

import numpy as np
import pytest

from jaxrec.models.families import table_of
from jaxrec.peft.interchange_names import modules, regex, shortest, sites


@pytest.mark.parametrize(
    "name", ["llama", "gpt2", "t5", "t5-1.1", "bert", "bert-masked", "roberta-classifier"]
)
def test_every_layer_is_named_so_that_no_other_module_fits(name, pair):
    both = pair(name)
    table = table_of(both.ours.family, both.ours.spec)
    there = dict(both.base().named_modules())
    there.pop("")
    places = sites(both.ours.spec, table)
    assert len({site.path for site in places}) >= 8
    for site in places:
        layers = site.kernel.layers
        own = {site.name(layer) for layer in range(layers or 1)}
        ends = shortest({site.module: layers}, modules(table))
        # PEFT's rules of target_modules, of modules_to_save and of patterns.
        assert {n for n in there if any(f".{n}".endswith(f".{end}") for end in ends)} == own
        assert {n for n in there if any(n.endswith(end) for end in ends)} == own
        pattern = rf"(.*\.)?({regex(site.module)})$"
        assert {n for n in there if re.match(pattern, n)} == own
        weight = there[site.name(0)].weight
        shape = (site.kernel.inner, site.width_there)
        is_first = site.input_first or site.is_embedding
        assert tuple(weight.shape) == (shape if is_first else shape[::-1])


def test_matrices_go_there_and_come_back_by_heads_and_parts(pair):
    both = pair("gpt2")
    table = table_of("gpt2", both.ours.spec)
    by_path = {site.path: site for site in sites(both.ours.spec, table)}
    value = by_path["decoder/blocks/attention/value"]
    rng = np.random.default_rng(0)
    ours = rng.normal(size=(3, 2, 32))
    theirs = value.up_there(ours)
    # Queries, keys and values side by side, each by heads.
    np.testing.assert_array_equal(theirs, np.concatenate([part.T for part in ours]))
    np.testing.assert_array_equal(value.up_here(theirs), ours[2])
    np.testing.assert_array_equal(value.down_there(ours[0].T), ours[0])
    np.testing.assert_array_equal(value.down_here(ours[0]), ours[0].T)
