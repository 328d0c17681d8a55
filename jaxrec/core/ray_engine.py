"""Pieces of work done by the workers of a Ray cluster: processes with an accelerator each.

    with RayEngine(workers=2) as engine:
        results = dict(engine.map(job, pieces))

Ray Data moves the pieces, with one actor a worker. A worker that dies is started again and its
piece is done again, so no result is lost, and none comes twice. Without an address the cluster is
this machine, and ends with the block.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxrec.core.engine import Job
from jaxrec.core.errors import ConfigError, ResourceError
from jaxrec.core.ranges import Count, check_ranges
from jaxrec.core.ray_cluster import connected, cpus_each, import_ray, kind_of
from jaxrec.core.ray_worker import Attempts, RayWorker, rebuilt


@dataclasses.dataclass
class RayEngine:
    """The workers of a Ray cluster, in a `with` block.

    Attributes:
      workers: number of processes; each has an accelerator, or a share of the processors in a
        cluster without accelerators.
      address: HOST:PORT of a running cluster, or "auto" for the one that this machine belongs to;
        "" starts one on this machine.

    Raises:
      ConfigError: Ray is not installed; no cluster answers at the address; or the cluster has fewer
        accelerators than workers. All are raised when the block is entered.

    Example:
      >>> RayEngine(workers=0)
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --workers must be at least 1, got 0
    """

    workers: Count
    address: str = ""

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        self._stack = contextlib.ExitStack()
        self._kind, self._cpus = "", 0

    def __enter__(self) -> "RayEngine":
        ray = import_ray()
        with contextlib.ExitStack() as stack:
            stack.enter_context(connected(ray, self.address))
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self._kind = kind_of(nodes)
            self._cpus = cpus_each(nodes, self.workers, self._kind)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cpus = 0
        self._stack.close()

    def map(self, job: Job, pieces: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """See `Engine`; results come as they are done.

        Raises:
          ConfigError: the engine is used outside its `with` block.
          ResourceError: a piece ended its worker several times, or the cluster failed.
          JaxrecError: what the job or a piece raised in a worker.
        """
        if not self._cpus:
            raise ConfigError("a RayEngine is used in a block: with RayEngine(...) as engine")
        if not pieces:
            return
        from ray import cloudpickle

        # Workers beyond the number of pieces would only be started and stopped.
        for row in self._answers(job, pieces, min(self.workers, len(pieces))):
            if row["error"]:
                raise rebuilt(row["error"], row["message"], row["trace"])
            yield row["number"], cloudpickle.loads(row["result"])

    def _answers(
        self, job: Job, pieces: Sequence[Any], workers: int
    ) -> Iterator[Mapping[str, Any]]:
        """Yield what the workers return; see `RayWorker`."""
        import ray
        from ray import cloudpickle
        from ray.data import ActorPoolStrategy, DataContext, from_items
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        context = DataContext.get_current().copy()
        context.enable_progress_bars = context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        # On this machine, since the command ends with it anyway; any other may be lost.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        attempts = ray.remote(num_cpus=0, scheduling_strategy=here)(Attempts).remote()
        rows = [{"number": n, "piece": cloudpickle.dumps(piece)} for n, piece in enumerate(pieces)]
        try:
            with DataContext.current(context):
                # A block a piece: blocks are what Ray hands out.
                answers = from_items(rows, override_num_blocks=len(rows)).map_batches(
                    RayWorker,
                    batch_size=1,
                    batch_format="numpy",
                    compute=ActorPoolStrategy(size=workers),
                    fn_constructor_args=(cloudpickle.dumps(job), self._environment(), attempts),
                    **self._resources(),
                )
                del rows
                yield from answers.iter_rows()
        except Exception as error:  # Ray's errors share no base that is public
            reason = " ".join(str(error).split())[:200]
            raise ResourceError(
                f"the Ray cluster failed ({type(error).__name__}: {reason}); start the same "
                "command again to continue"
            ) from error

    def _resources(self) -> dict[str, Any]:
        """What Ray reserves for each worker."""
        given: dict[str, Any] = {"num_cpus": self._cpus}
        if self._kind == "GPU":
            given["num_gpus"] = 1
        elif self._kind != "CPU":
            given["resources"] = {self._kind: 1}
        return given

    def _environment(self) -> Mapping[str, str | None]:
        """Variables of each worker; None removes one."""
        threads = str(self._cpus)
        return {
            # XLA's threads on the CPU, those of BLAS and OpenMP, and those of tokenizers.
            "NPROC": threads,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "RAYON_NUM_THREADS": threads,
            "JAX_PLATFORMS": "cpu" if self._kind == "CPU" else None,
        }
