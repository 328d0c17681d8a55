"""LoRA and adapters on every kind of model: where they start, and that the base stays itself."""

import dataclasses
import functools

import numpy as np
import pytest

from jaxrec.testing.tuned import METHODS, SPECS, tuned_case

CASES = {name: tuned_case(name) for name in SPECS}


@functools.cache
def _base(name):
    return CASES[name].outputs(CASES[name].params)


def _targets(case):
    """Layers to update: all there are."""
    tables = {"encoder": ("embedding",)}.get(case.name, ("embedding", "head"))
    return dataclasses.replace(METHODS["lora"], targets=("all", *tables))


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.variants(2)
def test_lora_on_every_layer_starts_bit_identical_to_the_base_and_moves_with_it(name):
    case = CASES[name]
    config = _targets(case)
    np.testing.assert_array_equal(case.outputs(case.variables(config)), _base(name))
    assert np.abs(case.outputs(case.variables(config, 0.1)) - _base(name)).max() > 0.1


@pytest.mark.parametrize("name", SPECS)
def test_adapters_start_near_the_base(name):
    case = CASES[name]
    change = np.abs(case.outputs(case.variables(METHODS["adapter"])) - _base(name)).max()
    assert 0 < change < 1e-2


@pytest.mark.parametrize("name", SPECS)
def test_without_the_collection_a_tuned_model_is_its_base(name):
    case = CASES[name]
    trainable, frozen = case.tuning(_targets(case), 0.1)
    assert set(trainable) == {"tuned"}
    np.testing.assert_array_equal(case.outputs(frozen), _base(name))
