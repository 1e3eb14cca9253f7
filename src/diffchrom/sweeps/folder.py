"""The folder of a sweep: one ordinary run folder a job, and ``jobs.tsv`` (docs/sweep.md).

What is finished is read from the run folders themselves; ``jobs.tsv`` tells people and later sweeps how long
jobs took and why they failed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffchrom.errors import RunError
from diffchrom.files.tables import NA, format_row
from diffchrom.files.whole import output_text
from diffchrom.pairs.covariates import has_prior
from diffchrom.runs.differences import differing
from diffchrom.runs.folder import CONFIG, FINISHED, Run, RunConfig, is_broken, is_finished
from diffchrom.runs.reading import WrittenTable
from diffchrom.sweeps.jobs import Job

JOBS = "jobs.tsv"
JOB_COLUMNS = (
    "job", "kind", "method", "preset", "pair", "held_out", "split", "seed",
    "status", "seconds", "memory_mb", "reason",
)  # fmt: skip
#: Columns that a table of an older version may lack.
_ADDED = ("held_out",)
FAILED, QUEUED, STARTED = "failed", "queued", "started"
#: Least seconds between two writings of ``jobs.tsv`` while a sweep runs.
_EVERY = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes
    ----------
    job : the job.
    status : ``finished`` or ``failed``.
    seconds : it took; NaN where it was finished before and nobody noted it.
    memory_mb : peak resident memory of the process that ran it, so far.
    reason : why it failed.
    """

    job: Job
    status: str
    seconds: float = float("nan")
    memory_mb: float = float("nan")
    reason: str = ""


def differences(config: RunConfig, job: Job) -> list[str]:
    """Say in what a run differs from what a job would make; empty when it is that job's run."""
    regions = job.regions if job.whole_gene else None
    prior = has_prior(config.covariates)
    expected = replace(
        config,
        kind=job.kind,
        variant=job.method,
        preset=job.preset,
        pair=job.pair,
        split=job.split,
        seed=job.seed,
        unit=job.unit or config.unit,
        marks=job.marks or config.marks,
        regions=dict.fromkeys(regions, "") if regions else config.regions,
        hyperparameters=job.hyperparameters,
        store={"fingerprint": job.fingerprint},
        covariates=config.covariates if prior == job.gene_prior else (*config.covariates, "gene prior"),
        pairs=job.learnt if job.held_out else (),
        held_out=job.held_out,
        normalise=job.normalise,
    )
    return differing(config, expected)


def status_of(job: Job, out: Path) -> str:
    """What is on disk: finished, started (goes on from its checkpoint) or queued.

    Raises
    ------
    RunError
        When the folder holds a finished run that is not this job's.
    """
    folder = out / job.name
    if not (folder / CONFIG).exists() or is_broken(folder):
        return QUEUED
    run = Run.open(folder, unfinished=True)
    differing = differences(run.config, job)
    if differing:
        raise RunError(
            f"{folder}: holds a run with other {', '.join(differing)}; choose another `out`, or remove it"
        )
    return FINISHED if run.config.status == FINISHED else STARTED


class JobTable:
    """``jobs.tsv``: every job of the sweep, how it stands, how long it took and why it failed."""

    def __init__(self, jobs: Sequence[Job], out: Path) -> None:
        self._path = out / JOBS
        self._rows = read_jobs(out)
        self._written = 0.0
        for job in jobs:
            row = self._rows.setdefault(job.name, {})
            row |= _describe(job)
            folder = out / job.name
            finished = (folder / CONFIG).exists() and not is_broken(folder) and is_finished(folder)
            row["status"] = FINISHED if finished else QUEUED
            row["reason"] = ""
        self.write()

    def add(self, outcome: Outcome) -> None:
        """Note an outcome; the file is renewed at most once a second."""
        self._rows[outcome.job.name] |= {
            "status": outcome.status,
            "seconds": round(outcome.seconds, 2),
            "memory_mb": round(outcome.memory_mb) if outcome.memory_mb == outcome.memory_mb else None,
            "reason": " ".join(outcome.reason.split()),
        }
        if time.monotonic() - self._written > _EVERY:
            self.write()

    def write(self) -> None:
        """Write the file, whole or not at all."""
        with output_text(self._path) as stream:
            stream.write(format_row(JOB_COLUMNS) + "\n")
            for row in self._rows.values():
                stream.write(format_row(row.get(name) for name in JOB_COLUMNS) + "\n")
        self._written = time.monotonic()


def _describe(job: Job) -> dict[str, Any]:
    return {
        "job": job.name,
        "kind": job.kind,
        "method": job.method,
        "preset": job.preset,
        "pair": ",".join(job.pair),
        "held_out": ",".join(job.held_out) or None,
        "split": job.split,
        "seed": job.seed,
    }


def read_jobs(out: Path) -> dict[str, dict[str, Any]]:
    """Rows of a sweep's ``jobs.tsv`` by job; empty where there is none, RunError where it is not ours."""
    path = out / JOBS
    if not path.is_file():
        return {}
    required = (name for name in JOB_COLUMNS if name not in _ADDED)
    table = WrittenTable.read(path, "sweep's table of jobs", required, "remove it, the runs are kept")
    rows = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    return {row["job"]: {k: None if v == NA else v for k, v in row.items()} for row in rows}
