"""Many runs in one folder: whatever is not finished yet is handed to an executor (docs/sweep.md).

A sweep folder has one ordinary run folder a job and ``jobs.tsv``. Its state is what is on disk, so a sweep
that was killed goes on when it is started again.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

from diffchrom.config import DEFAULT_PRESET
from diffchrom.errors import DiffchromError, OutputError, RunError, StoreError
from diffchrom.files.lock import locked
from diffchrom.processes.executors import Place
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import FINISHED, Run, is_broken
from diffchrom.store.store import Store
from diffchrom.sweeps.folder import FAILED, JOBS, JobTable, Outcome, status_of
from diffchrom.sweeps.plan import Job

#: Seconds between two looks at the clock while nothing finishes.
_TICK = 1.0

#: torch has one random generator a process: in a worker with several threads, jobs take turns.
_TURN = threading.Lock()


@dataclass
class Progress:
    """Where a sweep stands; what a live display shows."""

    total: int
    workers: int = 0
    finished_before: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    running: dict[str, float] = field(default_factory=dict)
    seconds_left: float = float("nan")

    @property
    def done(self) -> int:
        """Jobs that need no more work in this sweep."""
        return self.finished_before + len(self.outcomes)

    @property
    def failed(self) -> list[Outcome]:
        """Jobs that failed."""
        return [outcome for outcome in self.outcomes if outcome.status == FAILED]


def run_job(job: Job, out: Path, threads: int) -> Outcome:
    """Make one run; this is what workers execute. Never raises for what is wrong with the job itself."""
    with _TURN:
        started = time.monotonic()
        reason = ""
        try:
            _make_run(job, out / job.name, threads)
        except DiffchromError as error:
            reason = " ".join(str(error).split())
        except MemoryError:
            reason = "out of memory; use fewer --workers"
        except Exception as error:
            # A defect in one method costs its job, not the sweep; the type leads to it.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
        status = FAILED if reason else FINISHED
        return Outcome(job, status, time.monotonic() - started, _peak_memory_mb(), reason)


def _peak_memory_mb() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _make_run(job: Job, folder: Path, threads: int) -> Run:
    """Make the run by the same call as `train` and `baseline`, after checking that the store is the same."""
    fingerprint = Store(job.store).fingerprint(job.pair)
    if fingerprint != job.fingerprint:
        raise StoreError(
            f"{job.store}: {','.join(job.pair)} is not what the sweep was started on (fingerprint "
            f"{fingerprint[:12]}, not {job.fingerprint[:12]}); all workers must see the same store"
        )
    broken = is_broken(folder)
    pair = ",".join(job.pair)
    if job.settings is None:
        from diffchrom.baselines.fitting import BaselineJob, fit_baseline

        baseline = BaselineJob(
            job.store, job.method, pair, job.marks, split=job.split, unit=job.unit, seed=job.seed,
            preset=job.preset or DEFAULT_PRESET, epochs=job.epochs,
        )  # fmt: skip
        return fit_baseline(baseline, folder, threads=threads, resume=not broken, force=broken)
    import torch

    from diffchrom.deepdiff.training import TrainingJob, train

    torch.set_num_threads(threads)
    training = TrainingJob(
        job.store, job.method, job.preset, job.settings, pair, job.marks, job.split, job.unit,
        job.seed, job.device,
    )  # fmt: skip
    # Its memory is estimated and measured as that of one process.
    return train(training, folder, resume=not broken, force=broken, side_by_side=False)


def pending_jobs(jobs: Sequence[Job], out: Path) -> tuple[list[Job], list[Outcome]]:
    """Divide jobs into those still to run, and those that cannot be because another run is in the way."""
    pending, refused = [], []
    for job in jobs:
        try:
            if status_of(job, out) != FINISHED:
                pending.append(job)
        except RunError as error:
            refused.append(Outcome(job, FAILED, reason=str(error)))
    return pending, refused


def run_sweep(
    jobs: Sequence[Job],
    out: str | Path,
    place: Place,
    *,
    cost: Mapping[str, float] | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    reporter: Reporter = SILENT,
) -> list[Outcome]:
    """Run the jobs that are not finished.

    Parameters
    ----------
    jobs : from `plan.jobs_of`.
    out : folder of the sweep; made where it is missing.
    place : runs `run_job`; its workers must see `out` and the store under the same paths.
    cost : expected seconds of the jobs, by name; the longest are started first.
    watch : called whenever something has changed, and about every second.
    reporter : where notes go.

    Returns
    -------
    list of Outcome
        Of all jobs of this call that were run or refused, in no order.
    """
    out = _made(Path(out).resolve())
    with locked(out / JOBS):  # two sweeps in one folder would write the same runs
        pending, refused = pending_jobs(jobs, out)
        known = {job.name: cost.get(job.name, 0.0) for job in pending} if cost else {}
        # The longest first, so that no worker is left alone with a long job at the end.
        pending.sort(key=lambda job: -known.get(job.name, 0.0))
        progress = Progress(
            len(jobs), finished_before=len(jobs) - len(pending) - len(refused), outcomes=refused
        )
        if progress.finished_before:
            reporter.note(f"{progress.finished_before} of {len(jobs)} jobs are finished already")
        clock, table = _Clock(known), JobTable(jobs, out)
        for outcome in refused:
            table.add(outcome)
        # Closed at once when something here fails, so that no further job is started.
        with contextlib.closing(_rounds(pending, out, place, progress)) as rounds:
            try:
                for outcomes in rounds:
                    for outcome in outcomes:
                        progress.outcomes.append(outcome)
                        table.add(outcome)
                        _tell(reporter, progress, outcome)
                    progress.seconds_left = clock.seconds_left(progress, pending)
                    watch(progress)
            finally:
                table.write()
        return progress.outcomes


def _made(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror or error})") from error
    return out


def _rounds(
    pending: list[Job], out: Path, place: Place, progress: Progress
) -> Generator[list[Outcome], None, None]:
    """Keep the workers busy until no job is left; yield the outcomes of every look at the clock.

    Parameters
    ----------
    pending : jobs to run, the first first; emptied from the front.
    progress : its workers and running jobs are kept up to date here.
    """
    futures: dict[Future[Outcome], Job] = {}
    try:
        while pending or futures:
            sizes = place.sizes() or [1]
            progress.workers = len(sizes)
            threads = min(sizes)  # nobody knows which worker gets the job
            while pending and len(futures) < progress.workers:
                job = pending.pop(0)
                futures[place.executor.submit(run_job, job, out, threads)] = job
                progress.running[job.name] = time.monotonic()
            ready, _ = wait(futures, timeout=_TICK, return_when=FIRST_COMPLETED)
            finished = [(futures.pop(future), future) for future in ready]
            for job, _ in finished:
                progress.running.pop(job.name)
            yield [_outcome(job, future) for job, future in finished]
    finally:
        for future in futures:
            future.cancel()


def _outcome(job: Job, future: Future[Outcome]) -> Outcome:
    """Outcome of a job; what the executor itself raises (a worker that died again and again) is a failure.

    CancelledError passes: it says that the cluster is lost, and nothing of the job.
    """
    try:
        return future.result()
    except CancelledError:
        raise
    except Exception as error:
        name = "" if isinstance(error, DiffchromError) else f"{type(error).__name__}: "
        return Outcome(job, FAILED, reason=" ".join(f"{name}{error}".split()))


def _tell(reporter: Reporter, progress: Progress, outcome: Outcome) -> None:
    where = f"[{progress.done}/{progress.total}] {outcome.job.name}"
    if outcome.status == FAILED:
        reporter.warn(f"{where}: {outcome.reason}")
    else:
        reporter.note(f"{where}: {outcome.seconds:.1f} s")


@dataclass
class _Clock:
    """Guesses the time left: expected seconds, corrected by how the finished jobs did against theirs."""

    expected: Mapping[str, float]

    def seconds_left(self, progress: Progress, pending: Sequence[Job]) -> float:
        """Seconds until the last job ends; NaN before the first one has."""
        finished = [outcome for outcome in progress.outcomes if outcome.seconds == outcome.seconds]
        if not finished:
            return float("nan")
        weight = {name: value for name, value in self.expected.items() if value > 0}
        mean = sum(weight.values()) / len(weight) if weight else 1.0
        cost = {name: weight.get(name, mean) for name in (*progress.running, *(j.name for j in pending))}
        done = sum(weight.get(outcome.job.name, mean) for outcome in finished)
        pace = sum(outcome.seconds for outcome in finished) / done
        now = time.monotonic()
        left = sum(cost[job.name] * pace for job in pending)
        left += sum(max(0.0, cost[name] * pace - (now - since)) for name, since in progress.running.items())
        return left / max(1, progress.workers)
