"""Dynamic batching: requests of many clients share calls of the device.

Jobs wait in a queue, at most so long for company; those of one bucket (one shape) become a batch.
One thread owns the device. Several batches may run at the same time: the thread advances them in
turn, a chunk each, so that a long answer does not block a short one.

Where a call costs nearly the same for one row as for a full batch, jobs of a bucket of which a
batch runs wait for more company than `wait` gives them: until the batch ends, or for a few chunks.
And when it has ended, its clients get a moment to come back with their next requests. Without this,
eight clients would stay divided into the two or three batches that chance made of them at first.

An engine that knows its costs says how many jobs to take, and how many seconds company can save a
job. No job waits longer than that for company while the device is free.
"""

import collections
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from jaxrec.core import Count, NotNegative, ResourceError, Whole, check_ranges


class Job(Protocol):
    """One row of a batch, from a client that waits for it.

    Attributes:
      cancelled: whether nobody waits any longer. It leaves the queue; an engine ends its row.
    """

    cancelled: bool

    @property
    def bucket(self) -> Hashable:
        """Which jobs it can share a call with."""
        ...

    def fail(self, error: Exception) -> None:
        """Tell the client that there will be no answer."""
        ...


J = TypeVar("J", bound=Job)
JOB = TypeVar("JOB", bound=Job, contravariant=True)


class Engine(Protocol[JOB]):
    """What runs batches; all its methods are called in the thread that owns the device."""

    def warm_up(self) -> None:
        """Compile the programs of all buckets."""
        ...

    def most(self, bucket: Hashable) -> int:
        """Return the most jobs of a batch."""
        ...

    def count(self, bucket: Hashable, waiting: int) -> int:
        """Return how many of the jobs that wait should be the next batch."""
        ...

    def saving(self, bucket: Hashable, waiting: int) -> float:
        """Return the most seconds that further jobs can save each job that waits."""
        ...

    def run(self, bucket: Hashable, jobs: Sequence[JOB]) -> Iterator[None]:
        """Run a batch and tell its clients; each step of the iterator is one chunk of work."""
        ...


class QueueFull(ResourceError):
    """More jobs wait than the queue holds; the client should try again later.

    Example:
      >>> str(QueueFull("8 requests wait"))
      '8 requests wait'
    """


class Closed(ResourceError):
    """The service takes no more jobs, because it ends or could not begin.

    Example:
      >>> str(Closed("the service ends"))
      'the service ends'
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchingOptions:
    """How jobs wait and share calls.

    Attributes:
      wait: most seconds that a job waits for company while the device could run it.
      queue: most jobs that wait; further ones are refused.
      at_once: most batches that run in turn. Each holds a cache of its own on the device.
      patience: most chunks that jobs wait for company while a batch of their bucket runs.

    Raises:
      ConfigError: a value out of range.

    Example:
      >>> BatchingOptions(wait=0.01).queue
      1024
    """

    wait: NotNegative = 0.005
    queue: Count = 1024
    at_once: Count = 4
    patience: Whole = 4

    def __post_init__(self) -> None:
        check_ranges(self, "batching.")


# Part of the seconds of a batch that its clients get to come back, and the most of it.
_RETURN, _LONGEST_RETURN = 0.1, 0.05


def _nothing(rows: int, waited: float) -> None:
    return None


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Running(Generic[J]):
    """A batch that runs, and since when."""

    bucket: Hashable
    jobs: Sequence[J]
    steps: Iterator[None]
    since: float


class Batcher(Generic[J]):
    """A queue of jobs, and the thread that runs them.

    Args:
      engine: runs batches.
      options: see `BatchingOptions`.
      observe: called with the number of jobs of each batch, and how many seconds the oldest of them
        has waited.
      begun: called once everything is compiled, with the seconds that it took.
      clock: returns seconds.

    Example:
      >>> class Greeter:
      ...     def warm_up(self): ...
      ...     def most(self, bucket): return 8
      ...     def count(self, bucket, waiting): return min(8, waiting)
      ...     def saving(self, bucket, waiting): return 0.0
      ...     def run(self, bucket, jobs):
      ...         for job in jobs: job.heard.set()
      ...         yield
      >>> class Greeting:
      ...     cancelled, bucket = False, 0
      ...     def __init__(self): self.heard = threading.Event()
      ...     def fail(self, error): raise error
      >>> batcher, job = Batcher(Greeter()), Greeting()
      >>> batcher.start()
      >>> batcher.submit([job])
      >>> job.heard.wait(10)
      True
      >>> batcher.close()
    """

    def __init__(
        self,
        engine: Engine[J],
        options: BatchingOptions = BatchingOptions(),
        *,
        observe: Callable[[int, float], None] = _nothing,
        begun: Callable[[float], None] = lambda seconds: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._options = engine, options
        self._observe, self._begun, self._clock = observe, begun, clock
        # Jobs of each bucket, oldest first, with the time of their arrival and how many chunks had
        # been run until then.
        self._queues: dict[Hashable, collections.deque[tuple[float, int, J]]] = {}
        self._chunks = 0
        # Until when clients of a batch that has ended are expected.
        self._expected = -math.inf
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._ready = self._closing = False
        self._failure: Exception | None = None

    @property
    def ready(self) -> bool:
        """Whether everything is compiled and jobs are taken."""
        return self._ready and not self._closing and self._failure is None

    @property
    def failure(self) -> Exception | None:
        """Why the thread has ended by itself; None while all is well."""
        return self._failure

    @property
    def waiting(self) -> int:
        """Number of jobs in the queue."""
        with self._changed:
            return self._count()

    def start(self) -> None:
        """Start the thread, which first compiles everything; jobs may be submitted meanwhile."""
        self._thread.start()

    def submit(self, jobs: Sequence[J]) -> None:
        """Put jobs into the queue, all or none.

        Raises:
          QueueFull: there is no room for all of them.
          Closed: no more jobs are taken.
        """
        with self._changed:
            if self._closing or self._failure is not None:
                raise Closed(
                    "the service takes no more requests, because it "
                    + ("is ending" if self._failure is None else "could not start")
                    + "; try another one"
                )
            waiting = self._count()
            if waiting + len(jobs) > self._options.queue:
                raise QueueFull(
                    f"{waiting} requests wait, and {len(jobs)} more do not fit into the queue of "
                    f"{self._options.queue}; try again later"
                )
            now = self._clock()
            for job in jobs:
                self._queues.setdefault(job.bucket, collections.deque()).append(
                    (now, self._chunks, job)
                )
            self._changed.notify()

    def cancel(self, jobs: Sequence[J]) -> None:
        """Remove jobs from the queue; those that already run stop after their current chunk."""
        with self._changed:
            for job in jobs:
                job.cancelled = True
            for bucket in {job.bucket for job in jobs} & set(self._queues):
                left = [entry for entry in self._queues[bucket] if not entry[2].cancelled]
                self._queues[bucket] = collections.deque(left)

    def close(self, timeout: float | None = None) -> None:
        """Finish all jobs that were taken, take no more, and end the thread.

        Args:
          timeout: most seconds to wait; jobs that are not finished then get no answer.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _count(self) -> int:
        return sum(map(len, self._queues.values()))

    def _work(self) -> None:
        running: collections.deque[_Running[J]] = collections.deque()
        try:
            began = self._clock()
            self._engine.warm_up()
            self._ready = True
            self._begun(self._clock() - began)
            while True:
                while len(running) < self._options.at_once and (
                    found := self._take([batch.bucket for batch in running])
                ):
                    bucket, jobs = found
                    steps, since = self._steps(bucket, jobs), self._clock()
                    running.append(_Running(bucket=bucket, jobs=jobs, steps=steps, since=since))
                if not running:
                    return
                batch = running.popleft()
                if self._advance(batch.steps, batch.jobs):
                    running.append(batch)
                else:
                    now = self._clock()
                    self._expected = now + min(_RETURN * (now - batch.since), _LONGEST_RETURN)
                self._chunks += 1
        except Exception as error:
            # Nothing that a request does reaches this line.
            with self._changed:
                self._failure = error
                left = [job for queue in self._queues.values() for *_, job in queue]
                self._queues.clear()
            for job in (*left, *(job for batch in running for job in batch.jobs)):
                job.fail(Closed("the service could not start; its log says why"))

    def _steps(self, bucket: Hashable, jobs: Sequence[J]) -> Iterator[None]:
        """Run a batch; whatever the engine raises, it raises in a step."""
        yield from self._engine.run(bucket, jobs)

    def _advance(self, steps: Iterator[None], jobs: Sequence[J]) -> bool:
        """Run one chunk; return whether there is another. An error is one of this batch alone."""
        try:
            next(steps)
        except StopIteration:
            return False
        except Exception as error:
            for job in jobs:
                job.fail(error)
            return False
        return True

    def _take(self, running: Sequence[Hashable]) -> tuple[Hashable, list[J]] | None:
        """Return the next batch; None if there is none yet, or never again if none is running.

        Args:
          running: buckets of the batches that run; without any this waits for jobs.
        """
        with self._changed:
            while True:
                now = self._clock()
                ages = {bucket: queue[0][0] for bucket, queue in self._queues.items() if queue}
                due = {bucket: self._due(bucket, running) for bucket in ages}
                ready = {bucket: ages[bucket] for bucket, when in due.items() if now >= when}
                if ready:
                    bucket = min(ready, key=ready.__getitem__)
                    queue = self._queues[bucket]
                    count = self._engine.count(bucket, len(queue))
                    jobs = [queue.popleft()[2] for _ in range(count)]
                    if not queue:
                        del self._queues[bucket]
                    self._observe(count, now - ready[bucket])
                    return bucket, jobs
                if running or (self._closing and not ages):
                    return None
                self._changed.wait(min(due.values()) - now if due else None)

    def _due(self, bucket: Hashable, running: Sequence[Hashable]) -> float:
        """When a batch of a bucket may begin; infinity if only once others have advanced."""
        queue = self._queues[bucket]
        since, chunks, _ = queue[0]
        if self._closing or len(queue) >= self._engine.most(bucket):
            return -math.inf
        # Batches advance in turn, a chunk each.
        if bucket in running and self._chunks - chunks < self._options.patience * len(running):
            return math.inf
        longest = since + self._engine.saving(bucket, len(queue))
        expected = -math.inf if running else self._expected
        return max(min(since + self._options.wait, longest), min(expected, longest))
