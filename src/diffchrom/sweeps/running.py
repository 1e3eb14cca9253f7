"""Many runs in one folder: whatever is not finished yet is handed to a pool of processes (docs/sweep.md).

A sweep folder has one ordinary run folder a job and ``jobs.tsv``. Its state is what is on disk, so a sweep
that was killed goes on when it is started again.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffchrom.config import DEFAULT_PRESET
from diffchrom.errors import DiffchromError, OutputError, RunError, StoreError
from diffchrom.files.lock import locked
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.pair_set import PairSet
from diffchrom.processes.machine import peak_memory, set_worker_number
from diffchrom.processes.pool import Call, Pool, Purpose
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import FINISHED, Run, is_broken
from diffchrom.runs.making import Recipe, make
from diffchrom.store.store import Store
from diffchrom.sweeps.folder import FAILED, JOBS, JobTable, Outcome, status_of
from diffchrom.sweeps.jobs import Job

#: A job whose process is killed, by whatever needs its memory, may find more when it is tried again.
SWEEPING = Purpose(
    doing="running it",
    undone="not run",
    advice="try its method alone",
    memory="use fewer `workers`",
    retries=2,
)


@dataclass
class Progress:
    """Where a sweep stands; what a live display shows.

    Attributes
    ----------
    total : all jobs.
    pending : jobs that are still to start, the first first.
    expected : seconds of jobs, by name.
    workers : how many jobs may run at a time.
    finished_before : how many were finished before this sweep.
    outcomes : of the others.
    running : when those that run were started, by name.
    """

    total: int
    pending: list[Job] = field(default_factory=list)
    expected: Mapping[str, float] = field(default_factory=dict)
    workers: int = 0
    finished_before: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    running: dict[str, float] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Jobs that need no more work in this sweep."""
        return self.finished_before + len(self.outcomes)

    @property
    def failed(self) -> list[Outcome]:
        """Jobs that failed."""
        return [outcome for outcome in self.outcomes if outcome.status == FAILED]

    @property
    def seconds_left(self) -> float:
        """Seconds until the last job ends, by how the finished ones did against their expected time.

        NaN before the first one has finished.
        """
        finished = [outcome for outcome in self.outcomes if outcome.seconds == outcome.seconds]
        if not finished:
            return float("nan")
        weight = {name: value for name, value in self.expected.items() if value > 0}
        mean = sum(weight.values()) / len(weight) if weight else 1.0
        done = sum(weight.get(outcome.job.name, mean) for outcome in finished)
        pace = sum(outcome.seconds for outcome in finished) / done
        now = time.monotonic()
        begun = {**dict.fromkeys((job.name for job in self.pending), now), **self.running}
        left = sum(max(0.0, weight.get(name, mean) * pace - (now - since)) for name, since in begun.items())
        return left / max(1, self.workers)


def run_job(job: Job, out: Path, threads: int, worker: int = 0) -> Outcome:
    """Make one run; this is what workers do. Never raises for what is wrong with the job itself.

    Parameters
    ----------
    worker : number of whoever does it, among those that do at the same time: they share the cards out.
    """
    set_worker_number(worker)
    started = time.monotonic()
    reason = ""
    try:
        _make_run(job, out / job.name, threads)
    except DiffchromError as error:
        reason = " ".join(str(error).split())
    except MemoryError:
        reason = "out of memory; use fewer `workers`"
    except Exception as error:
        # A defect in one method costs its job, not the sweep; the type leads to it.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
    status = FAILED if reason else FINISHED
    return Outcome(job, status, time.monotonic() - started, peak_memory() / 2**20, reason)


def _make_run(job: Job, folder: Path, threads: int) -> Run:
    """Make the run by the same call as `train` and `baseline`, after checking that the store is the same."""
    store = Store(job.store)
    fingerprint = store.fingerprint(job.cells)
    if fingerprint != job.fingerprint:
        raise StoreError(
            f"{job.store}: {','.join(job.cells)} is not what the sweep was started on (fingerprint "
            f"{fingerprint[:12]}, not {job.fingerprint[:12]}); all workers must see the same store"
        )
    broken = is_broken(folder)
    choices: dict[str, Any] = {name: getattr(job, name) for name in ("marks", "split", "unit", "regions")}
    if job.held_out:
        pairs = PairSet.of(store, job.pairs, held_out=job.held_out, normalise=job.normalise, **choices)
    else:
        pairs = PairSet((Pair.of(store, job.pair, **choices),), normalise=job.normalise)
    return make(_recipe(job, threads), pairs, folder, resume=not broken, force=broken)


def _recipe(job: Job, threads: int) -> Recipe:
    if job.settings is None:
        from diffchrom.baselines.fitting import Fitting

        preset = job.preset or DEFAULT_PRESET
        return Fitting(
            job.method, job.seed, threads, preset, job.epochs, device=job.device, gene_prior=job.gene_prior
        )
    from diffchrom.deepdiff.building import use_threads
    from diffchrom.deepdiff.training import Training

    use_threads(threads)
    # Its memory is estimated and measured as that of one process.
    return Training(
        job.method, job.preset, job.settings, job.seed, job.device,
        side_by_side=False, gene_prior=job.gene_prior,
    )  # fmt: skip


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
    pool: Pool,
    *,
    cost: Mapping[str, float] | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    reporter: Reporter = SILENT,
) -> list[Outcome]:
    """Run the jobs that are not finished.

    Parameters
    ----------
    jobs : from `jobs.jobs_of`.
    out : folder of the sweep; made where it is missing.
    pool : runs `run_job`; its workers must see `out` and the store under the same paths.
    cost : expected seconds of the jobs, by name; the longest are started first.
    watch : called with the one `Progress` of the sweep when it begins, and whenever a job has ended.
    reporter : where notes go.

    Returns
    -------
    list of Outcome
        Of all jobs of this call that were run or refused, in no order.
    """
    out = _made(Path(out).resolve())
    with locked(out / JOBS):  # two sweeps in one folder would write the same runs
        pending, refused = pending_jobs(jobs, out)
        expected = {job.name: cost.get(job.name, 0.0) for job in pending} if cost else {}
        # The longest first, so that no worker is left alone with a long job at the end.
        pending.sort(key=lambda job: -expected.get(job.name, 0.0))
        before = len(jobs) - len(pending) - len(refused)
        progress = Progress(len(jobs), pending, expected, pool.capacity, before, refused)
        if before:
            reporter.note(f"{before} of {len(jobs)} jobs are finished already")
        table = JobTable(jobs, out)
        for outcome in refused:
            table.add(outcome)
        watch(progress)
        # Closed at once when something here fails, so that no further job is started.
        with contextlib.closing(_outcomes(out, pool, progress)) as outcomes:
            try:
                for outcome in outcomes:
                    progress.outcomes.append(outcome)
                    table.add(outcome)
                    _tell(reporter, progress, outcome)
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


def _outcomes(out: Path, pool: Pool, progress: Progress) -> Generator[Outcome, None, None]:
    """Run the pending jobs, keeping what runs up to date, and yield their outcomes."""
    started: list[Job] = []
    workers: dict[str, int] = {}
    common = {"out": out, "threads": pool.threads}

    def calls() -> Iterator[Call]:
        while progress.pending:
            job = progress.pending.pop(0)
            started.append(job)
            workers[job.name] = next(n for n in itertools.count() if n not in workers.values())
            progress.running[job.name] = time.monotonic()
            progress.workers = pool.capacity
            yield Call(job.name, run_job, {**common, "job": job, "worker": workers[job.name]})

    for reply in pool.run(calls(), time_limit=math.inf):
        job = started[reply.index]
        progress.running.pop(job.name)
        workers.pop(job.name)
        if reply.error is not None:
            yield Outcome(job, FAILED, reason=str(reply.error).removeprefix(f"{job.name}: "))
        else:
            yield reply.value


def _tell(reporter: Reporter, progress: Progress, outcome: Outcome) -> None:
    where = f"[{progress.done}/{progress.total}] {outcome.job.name}"
    if outcome.status == FAILED:
        reporter.warn(f"{where}: {outcome.reason}")
    else:
        reporter.note(f"{where}: {outcome.seconds:.1f} s")
