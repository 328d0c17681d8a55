"""The start of the alignment claims is the quickstart's model."""

from jaxrec.cli.configs import find_config
from jaxrec.cli.loading import load_config_file, load_sweep_file


def test_the_start_of_the_claims_is_the_quickstart():
    quickstart = load_config_file(find_config("quickstart"))
    (start,) = load_sweep_file(find_config("align/claims")).starts.values()
    # A sweep refuses a start whose settings differ in any way.
    assert start == quickstart


def test_all_rows_of_the_claims_take_the_same_steps():
    variants = load_sweep_file(find_config("align/claims")).variants
    assert list(variants) == ["supervised", "dpo", "sdpo", "grpo"]
    same = {
        (config.train.steps, config.train.batch_size, config.train.schedule, config.tune.base)
        for config in variants.values()
    }
    assert len(same) == 1
    assert {config.align.method for config in variants.values()} == {"none", "dpo", "sdpo", "grpo"}
