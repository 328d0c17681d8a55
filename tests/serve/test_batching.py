"""The queue of a service, with an engine that does nothing but wait to be told."""

import contextlib
import math
import threading
import time

import pytest

from jaxrec.serve import Batcher, BatchingOptions, Closed, QueueFull


class Job:
    def __init__(self, bucket=0, chunks=1):
        self.bucket, self.chunks, self.cancelled = bucket, chunks, False
        self.done, self.error = threading.Event(), None

    def fail(self, error):
        self.error = error
        self.done.set()


class Engine:
    """Runs `chunks` steps a batch; a batch of the bucket "bad" fails at its first step."""

    def __init__(self):
        self.batches, self.steps, self.begun = [], [], []
        self.gate = threading.Event()
        self.gate.set()

    def warm_up(self):
        self.gate.wait()

    def most(self, bucket):
        return 3

    def count(self, bucket, waiting):
        return min(waiting, 3)

    def saving(self, bucket, waiting):
        return math.inf

    def run(self, bucket, jobs):
        self.batches.append((bucket, jobs))
        self.begun.append(len(self.steps))
        for _ in range(max(job.chunks for job in jobs)):
            self.steps.append(bucket)
            if bucket == "bad":
                raise ValueError("secret")
            yield
        for job in jobs:
            job.done.set()


@contextlib.contextmanager
def running(**options):
    engine = Engine()
    batcher = Batcher(engine, BatchingOptions(**options))
    batcher.start()
    try:
        yield engine, batcher
    finally:
        engine.gate.set()
        batcher.close()


def finish(jobs):
    assert all(job.done.wait(10) for job in jobs)


def test_jobs_of_one_bucket_share_a_batch_and_others_do_not():
    with running(wait=0.05) as (engine, batcher):
        jobs = [Job(bucket) for bucket in "abaabaa"]
        batcher.submit(jobs)
        finish(jobs)
    sizes = sorted((bucket, len(batch)) for bucket, batch in engine.batches)
    assert sizes == [("a", 2), ("a", 3), ("b", 2)]
    # Oldest first.
    assert engine.batches[0] == ("a", [jobs[0], jobs[2], jobs[3]])


def test_a_job_waits_for_company_and_no_longer():
    with running(wait=0.2) as (engine, batcher):
        first, second = Job(), Job()
        began = time.monotonic()
        batcher.submit([first])
        time.sleep(0.02)
        batcher.submit([second])
        finish([first, second])
        waited = time.monotonic() - began
    assert [len(batch) for _, batch in engine.batches] == [2] and waited >= 0.2


def test_a_full_batch_does_not_wait():
    with running(wait=3600.0) as (_, batcher):
        jobs = [Job() for _ in range(3)]
        batcher.submit(jobs)
        finish(jobs)


def test_a_short_batch_passes_a_long_one():
    with running(wait=0.0) as (engine, batcher):
        engine.gate.clear()
        long, short = Job("long", chunks=500), Job("short")
        batcher.submit([long])
        batcher.submit([short])
        engine.gate.set()
        finish([short, long])
    assert engine.steps[:3].count("short") == 1 and engine.steps.count("long") == 500


def test_jobs_wait_for_a_batch_of_their_bucket_and_its_clients_but_not_for_long():
    with running(wait=0.0, patience=5) as (engine, batcher):
        # Three fill a batch; of the two others the first could begin at once.
        first, later = [Job(chunks=3) for _ in range(3)], [Job(), Job()]
        batcher.submit([*first, *later])
        finish([*first, *later])
        assert [len(jobs) for _, jobs in engine.batches] == [3, 2]
        assert engine.steps == [0, 0, 0, 0]
        # Five chunks of a long batch are as long as they wait.
        long, short = [Job(chunks=50) for _ in range(3)], Job()
        batcher.submit([*long, short])
        finish([short, *long])
    assert [len(jobs) for _, jobs in engine.batches] == [3, 2, 3, 1]
    # Its turn comes after the next chunk of the other batch.
    assert engine.begun[3] - engine.begun[2] == 5 + 1


def test_an_engine_that_knows_its_costs_takes_what_is_cheap_and_does_not_wait_in_vain():
    with running(wait=3600.0) as (engine, batcher):
        # One that is alone could save an hour, and two can save nothing.
        engine.count = lambda bucket, waiting: min(waiting, 2)
        engine.saving = lambda bucket, waiting: 3600.0 if waiting == 1 else 0.0
        first, second = [Job(), Job()], [Job(), Job()]
        batcher.submit(first)
        finish(first)
        batcher.submit(second[:1])
        assert not second[0].done.wait(0.05)
        batcher.submit(second[1:])
        finish(second)
        # Of three that fill a batch the third one stays, and waits no longer than it can save.
        engine.saving = lambda bucket, waiting: 0.05
        third = [Job(), Job(), Job()]
        batcher.submit(third)
        finish(third)
    assert [len(jobs) for _, jobs in engine.batches] == [2, 2, 2, 1]


def test_an_error_is_one_of_its_batch_alone():
    with running(wait=0.0) as (_, batcher):
        bad, good = Job("bad"), Job("good", chunks=3)
        batcher.submit([good, bad])
        finish([bad, good])
        assert isinstance(bad.error, ValueError) and good.error is None
        again = Job()
        batcher.submit([again])
        finish([again])


def test_a_cancelled_job_leaves_the_queue():
    engine = Engine()
    engine.gate.clear()
    batcher = Batcher(engine, BatchingOptions(queue=2, wait=0.0))
    batcher.start()
    gone, stays = Job(), Job()
    batcher.submit([gone, stays])
    with pytest.raises(QueueFull, match="2 requests wait, and 1 more do not fit"):
        batcher.submit([Job()])
    batcher.cancel([gone])
    assert batcher.waiting == 1 and gone.cancelled
    later = Job()
    batcher.submit([later])
    engine.gate.set()
    batcher.close()
    assert [batch for _, batch in engine.batches] == [[stays, later]]


def test_all_or_none_of_a_request_is_queued():
    with running(queue=2) as (_, batcher):
        with pytest.raises(QueueFull):
            batcher.submit([Job(), Job(), Job()])
        assert batcher.waiting == 0


def test_closing_finishes_what_was_taken_and_takes_no_more():
    engine = Engine()
    engine.gate.clear()
    batcher = Batcher(engine, BatchingOptions(wait=3600.0))
    batcher.start()
    jobs = [Job("a", chunks=5), Job("b", chunks=2)]
    batcher.submit(jobs)
    threading.Timer(0.05, engine.gate.set).start()
    batcher.close()
    assert all(job.done.is_set() and job.error is None for job in jobs)
    with pytest.raises(Closed, match="is ending"):
        batcher.submit([Job()])


def test_a_service_that_cannot_start_says_so_to_all_who_wait():
    engine = Engine()
    engine.warm_up = lambda: engine.gate.wait() and 1 / 0
    engine.gate.clear()
    batcher = Batcher(engine)
    batcher.start()
    job = Job()
    batcher.submit([job])
    engine.gate.set()
    finish([job])
    assert isinstance(job.error, Closed) and isinstance(batcher.failure, ZeroDivisionError)
    assert not batcher.ready
    with pytest.raises(Closed, match="could not start"):
        batcher.submit([Job()])
