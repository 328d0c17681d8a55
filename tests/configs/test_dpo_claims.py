"""The configs of DPO on text start from one run, and split its occupations as it did."""

from jaxrec.cli.configs import config_names
from jaxrec.cli.loading import load_config_file, load_sweep_file

ALL = config_names()


def test_the_sweep_starts_from_the_config_that_its_directory_names():
    sweep = load_sweep_file(ALL["dpo/claims"])
    ((directory, start),) = sweep.starts.items()
    assert directory == "runs/instruct-occupations"
    assert start == load_config_file(ALL["instruct/occupations"])
    single = load_config_file(ALL["align/dpo_text"])
    assert {config.tune.base for config in (single, *sweep.variants.values())} == {directory}


def test_no_test_prompt_was_learned_by_the_start():
    tuned = load_config_file(ALL["instruct/occupations"]).data
    configs = load_sweep_file(ALL["dpo/claims"]).variants.values()
    for config in (
        *configs,
        load_config_file(ALL["align/dpo_text"]),
        load_config_file(ALL["domain/jobs"]),
    ):
        data = config.data
        assert (data.valid, data.test, data.seed) == (
            tuned.valid_share,
            tuned.test_share,
            tuned.seed,
        )
