"""A script, not a test: tests run this regression on devices and processes of their choice.

several_run.py DIRECTORY [--stop-at STEP] [--distributed]: a process sends itself SIGTERM at a step.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from jax.experimental import multihost_utils

from jaxrec.core import JaxrecError
from jaxrec.core.mesh import batch_sharding
from jaxrec.core.processes import batch_shard, is_writer, meet
from jaxrec.testing.regression import RegressionBatches, closeness, kernel_of, regression_plan
from jaxrec.train import TrainConfig, Validation, fit

CONFIG = TrainConfig(
    steps=12, batch_size=8, lr=0.05, warmup_steps=2, eval_every=4, log_every=1, clip_norm=0.0
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--stop-at", type=int)
    parser.add_argument("--distributed", action="store_true")
    arguments = parser.parse_args()
    if arguments.distributed:
        meet()

    def change(place, batch):
        if place + 1 == arguments.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        if arguments.distributed and arguments.stop_at and place + 1 > arguments.stop_at:
            time.sleep(0.5)  # JAX looks for signals once a second
        return batch

    plan = regression_plan(CONFIG, split=True)
    shard = batch_shard(batch_sharding(plan.mesh, plan.rules))
    batches = RegressionBatches(CONFIG.batch_size, shard, change)
    try:
        result = fit(plan, batches, Validation(closeness), arguments.directory)
    except JaxrecError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    kernel = kernel_of(result.params)
    if arguments.distributed:
        kernel = multihost_utils.process_allgather(kernel, tiled=True)
    if is_writer():
        facts = {
            "kernel": np.asarray(kernel).tolist(),
            "best_step": result.best_step,
            "shard": shard,
        }
        (arguments.directory / "result.json").write_text(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
