from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import worker_tasks
from conftest import DaskCluster, SchedulerKiller, dask_cluster, free_port, make_store, wait_for
from diffchrom.cli import main
from diffchrom.config import PRESETS, hyperparameters
from diffchrom.deepdiff.timing import step_seconds
from diffchrom.errors import InputError, RunError, StoreError, UsageError
from diffchrom.genome.genes import Window
from diffchrom.genome.layout import layout_of
from diffchrom.pairs.choices import read_split
from diffchrom.pairs.naming import read_pairs
from diffchrom.processes.cluster import ClusterLostError, dask_pool
from diffchrom.processes.machine import share_cores
from diffchrom.processes.pool import Call, LocalPool, Pool, Reply
from diffchrom.progress import SilentReporter
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store
from diffchrom.sweeps.estimate import estimate_jobs, relative_cost, sequences
from diffchrom.sweeps.folder import Outcome, read_jobs
from diffchrom.sweeps.jobs import Job, jobs_of
from diffchrom.sweeps.plan import Plan, make_plan, read_plan
from diffchrom.sweeps.running import SWEEPING, Progress, run_job, run_sweep
from diffchrom.variants import VARIANTS

QUICK = {"hidden": 4, "epochs": 1}
TSS_LAYOUT = layout_of(Window(1000), ("tss",))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("sweep") / "s.h5", cells=("A1", "B2", "C3"))


@pytest.fixture
def plan(store: Store, tmp_path: Path) -> Plan:
    return Plan(store.path, tmp_path / "sweep", pairs=("A1,B2",), baselines=("ridge",), settings=QUICK)


@pytest.fixture
def here() -> Pool:
    """Jobs run in this process, one at a time."""
    return Pool()


def model_bytes(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob("*/model.safetensors"))}


# ---- plans


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_plan_file_and_the_same_options_give_the_same_jobs(store: Store, tmp_path: Path) -> None:
    file = write(
        tmp_path / "plan.toml",
        f"""
        store = "{store.path}"
        out = "here"
        pairs = ["A1,B2", "A1,C3"]
        variants = "all"
        baselines = ["ridge", "mean"]
        presets = ["default", "published", "paper"]
        seeds = 2
        [settings]
        epochs = 3
        """,
    )
    given = {
        "store": store.path,
        "out": tmp_path / "here",
        "variants": ("all",),
        "baselines": ("ridge", "mean"),
        "presets": ("all",),
    }
    from_options = make_plan(None, given, pairs=["A1,B2", "A1,C3"], seeds=2, epochs=3)
    jobs = jobs_of(make_plan(file, {}))
    assert jobs == jobs_of(from_options)
    assert len(jobs) == 2 * 2 * (2 + len(VARIANTS) * len(PRESETS))
    assert len({job.name for job in jobs}) == len(jobs)
    assert {job.settings.epochs for job in jobs if job.settings} == {3}


def test_options_go_before_the_plan(tmp_path: Path) -> None:
    file = write(
        tmp_path / "p.toml", 'variants = ["raw"]\nseeds = 5\n[settings.published]\nepochs = 9\nlr=1\n'
    )
    plan = make_plan(file, {"variants": ("raw:d",), "split": None}, seeds=1, epochs=2)
    assert plan.variants == ("raw:d",)
    assert plan.seeds == (0,)
    assert plan.settings == {"epochs": 2}
    assert plan.preset_settings == {"published": {"lr": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('variant = "raw"', "unknown key variant"),
        ("[settings]\nepoch = 3", "unknown key settings.epoch"),
        ("[settings.published]\nlearning = 1", "unknown key settings.published.learning"),
        ("[settings]\nepochs = 'many'", "settings.epochs = 'many' must be a whole number"),
        ("[settings]\naux_task = 'both'", "must be one of regression, classification"),
        ("seeds = 2.5", "seeds = 2.5 must be a whole number"),
        ("seeds = true", "seeds = True must be a whole number"),
        ("variants = [1]", "variants = 1 must be text"),
        ("settings = 3", "settings = 3 must be a table"),
        ("variants = ", "not a TOML plan"),
    ],
)
def test_a_plan_with_a_mistake_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path / "plan.toml", text)
    with pytest.raises(InputError, match=r"plan\.toml: ") as error:
        read_plan(file)
    assert said in str(error.value)


@pytest.mark.parametrize("seeds", ["seeds = 0", "seeds = []", "seeds = [1, 1]", "seeds = [-1]"])
def test_seeds_that_are_none_or_twice_the_same_are_refused(tmp_path: Path, seeds: str) -> None:
    with pytest.raises(UsageError, match="seeds"):
        read_plan(write(tmp_path / "plan.toml", seeds))


def test_pairs_come_from_a_file_of_the_plans_folder(tmp_path: Path) -> None:
    write(tmp_path / "pairs.txt", "# A B\nA1\tB2\nA1,C3  # again\n\nB2 C3\n")
    assert read_pairs(["pairs.txt"], tmp_path) == ("A1,B2", "A1,C3", "B2,C3")
    write(tmp_path / "bad.txt", "A1 B2\nA1\n")
    with pytest.raises(InputError, match="line 2 has 1 names"):
        read_pairs(["bad.txt"], tmp_path)
    with pytest.raises(UsageError, match="neither all"):
        read_pairs(["nowhere.txt"], tmp_path)


def test_all_pairs_are_every_two_cells_once(store: Store, plan: Plan) -> None:
    jobs = jobs_of(replace(plan, pairs=("all",)))
    assert [job.pair for job in jobs] == [("A1", "B2"), ("A1", "C3"), ("B2", "C3")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baselines": ("rigde",)}, "rigde"),
        ({"variants": ("raw:x",)}, "raw:x"),
        ({"presets": ("mine",)}, "mine"),
        ({"baselines": ()}, "nothing to run"),
        ({"folds": 2}, "from 3 to 127"),
        ({"folds": 3, "split": "chromosome"}, "leave out `split`"),
        ({"device": "tpu"}, "tpu"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_before_anything_is(
    plan: Plan, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        jobs_of(replace(plan, **change))
    assert not plan.out.exists()


def test_folds_test_every_gene_once_and_leave_the_store_alone(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5")
    before = store.path.read_bytes()
    plan = Plan(store.path, tmp_path, pairs=("A1,B2",), baselines=("mean",), folds=3)
    jobs = jobs_of(plan)
    assert [job.split for job in jobs] == [f"chromosome-fold{fold}of3" for fold in (1, 2, 3)]
    tested = sum((read_split(store, job.split) == 2).astype(int) for job in jobs)
    assert (tested == 1).all()
    assert store.path.read_bytes() == before
    assert jobs_of(plan) == jobs


# ---- sweeping


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)

    warn = note


def test_a_sweep_makes_ordinary_runs_and_skips_them_the_next_time(plan: Plan, here: Pool) -> None:
    jobs = jobs_of(replace(plan, variants=("raw:d",), seeds=(0, 1)))
    seen: list[Progress] = []
    outcomes = run_sweep(jobs, plan.out, here, watch=seen.append)
    assert {outcome.status for outcome in outcomes} == {"finished"}
    assert seen[-1].done == seen[-1].total == 4
    for job in jobs:
        run = Run.open(plan.out / job.name)
        assert (run.config.variant, run.config.seed, run.config.pair) == (job.method, job.seed, job.pair)
    rows = read_jobs(plan.out)
    assert [row["status"] for row in rows.values()] == ["finished"] * 4
    before = {path: path.stat().st_mtime_ns for path in plan.out.glob("*/*")}
    notes = Notes()
    assert run_sweep(jobs, plan.out, here, reporter=notes) == []
    assert notes.said == ["4 of 4 jobs are finished already"]
    assert {path: path.stat().st_mtime_ns for path in plan.out.glob("*/*")} == before
    assert {name: row["seconds"] for name, row in read_jobs(plan.out).items()} == {
        name: row["seconds"] for name, row in rows.items()
    }


def test_a_failed_job_is_reported_and_stops_nobody(plan: Plan, here: Pool) -> None:
    jobs = jobs_of(replace(plan, baselines=("ridge", "mean")))
    bad = replace(jobs[0], name="bad", marks=("H9K9",))
    outcomes = {o.job.name: o for o in run_sweep([bad, *jobs], plan.out, here)}
    assert outcomes["bad"].status == "failed"
    assert "H9K9" in outcomes["bad"].reason
    assert [outcomes[job.name].status for job in jobs] == ["finished", "finished"]
    row = read_jobs(plan.out)["bad"]
    assert row["status"] == "failed"
    assert "H9K9" in str(row["reason"])


def test_a_defect_in_a_method_costs_its_job_only(
    plan: Plan, here: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("diffchrom.baselines.fitting.fit_pairs", broken)
    (outcome,) = run_sweep(jobs_of(plan), plan.out, here)
    assert outcome.reason == "ZeroDivisionError: a defect"


@pytest.mark.parametrize("damage", ["truncated config", "no predictions", "empty folder", "no model"])
def test_a_half_written_run_is_made_again(plan: Plan, here: Pool, damage: str) -> None:
    plan = replace(plan, variants=("raw:d",), baselines=())
    jobs = jobs_of(plan)
    run_sweep(jobs, plan.out, here)
    folder = plan.out / jobs[0].name
    whole = model_bytes(plan.out)
    if damage == "truncated config":
        text = (folder / "config.json").read_text()
        (folder / "config.json").write_text(text[: len(text) // 2])
    elif damage == "empty folder":
        for path in folder.iterdir():
            path.unlink()
    else:
        (folder / {"no predictions": "predictions.tsv", "no model": "model.safetensors"}[damage]).unlink()
    (outcome,) = run_sweep(jobs, plan.out, here)
    assert outcome.status == "finished", outcome.reason
    assert model_bytes(plan.out) == whole


def test_a_run_of_other_settings_is_not_taken_for_the_job(plan: Plan, here: Pool) -> None:
    plan = replace(plan, variants=("raw:d",), baselines=())
    run_sweep(jobs_of(plan), plan.out, here)
    before = model_bytes(plan.out)
    changed = jobs_of(replace(plan, settings={"hidden": 4, "epochs": 2}))
    (outcome,) = run_sweep(changed, plan.out, here)
    assert outcome.status == "failed"
    assert "other epochs" in outcome.reason
    assert model_bytes(plan.out) == before


def test_a_worker_that_sees_another_store_refuses(plan: Plan, tmp_path: Path) -> None:
    (job,) = jobs_of(plan)
    other = make_store(tmp_path / "other.h5", cells=("A1", "B2", "C3"), seed=1)
    outcome = run_job(replace(job, store=other.path), plan.out, 1)
    assert outcome.status == "failed"
    assert "all workers must see the same store" in outcome.reason


def test_a_sweep_folder_is_for_one_sweep_at_a_time(plan: Plan, here: Pool) -> None:
    from diffchrom.files.lock import locked
    from diffchrom.sweeps.folder import JOBS

    with locked(plan.out / JOBS), pytest.raises(StoreError, match=r"jobs\.tsv"):
        run_sweep(jobs_of(plan), plan.out, here)


def test_a_table_of_jobs_that_is_not_ours_is_refused(plan: Plan, here: Pool) -> None:
    plan.out.mkdir()
    (plan.out / "jobs.tsv").write_text("my jobs\n")
    with pytest.raises(RunError, match=r"jobs\.tsv: not a sweep's table"):
        run_sweep(jobs_of(plan), plan.out, here)


def test_the_longest_jobs_start_first(plan: Plan) -> None:
    started: list[str] = []

    class Recorder(Pool):
        def run(self, calls: Iterable[Call], *, time_limit: float = 0.0) -> Iterator[Reply]:
            for index, call in enumerate(calls):
                started.append(call.arguments["job"].method)
                yield Reply(index, run_job(**call.arguments))

    plan = replace(plan, variants=("raw:d", "raw+aux"), baselines=("mean",))
    jobs = jobs_of(plan)
    run_sweep(jobs, plan.out, Recorder(), cost=relative_cost(jobs))
    assert started == ["raw+aux", "raw:d", "mean"]


def test_a_sweep_reads_the_regions_it_was_told_and_keeps_no_run_of_others(
    whole_gene_store: Store, tmp_path: Path, here: Pool
) -> None:
    file = write(tmp_path / "plan.toml", 'baselines = ["ridge", "mean"]\nregions = ["tes", "body"]\n')
    plan = make_plan(file, {"store": whole_gene_store.path, "out": tmp_path / "sweep"}, pairs=["A1,B2"])
    jobs = jobs_of(plan)
    assert [outcome.status for outcome in run_sweep(jobs, plan.out, here)] == ["finished"] * 2
    regions = {job.method: list(Run.open(plan.out / job.name).config.regions) for job in jobs}
    assert regions == {"ridge": ["tss", "body", "tes"], "mean": ["tss"]}
    (refused,) = run_sweep(jobs_of(replace(plan, regions=("tss",))), plan.out, here)
    assert refused.job.method == "ridge"
    assert "holds a run with other regions" in refused.reason
    with pytest.raises(UsageError, match="`regions=bodies`: unknown"):
        jobs_of(replace(plan, regions=("bodies",)))


# ---- estimates


def test_windows_beyond_the_tss_count_in_an_estimate_as_the_features_they_are(
    whole_gene_store: Store, tmp_path: Path
) -> None:
    names = ("ridge", "gradient-boosting", "svr-two-layer")
    plan = Plan(whole_gene_store.path, tmp_path, pairs=("A1,B2",), baselines=names)
    every, alone = (estimate_jobs(jobs_of(replace(plan, regions=of)), {}) for of in (None, ("tss",)))
    ratios = [one.seconds / other.seconds for one, other in zip(every, alone, strict=True)]
    # 30 windows beside 200 bins, or beside 20 features of 10 bins each.
    assert ratios == pytest.approx([230 / 200, 50 / 20, 1])
    more = [one.memory_mb - other.memory_mb for one, other in zip(every, alone, strict=True)]
    assert more == pytest.approx([6 * 2 * 60 * 2 * 30 * 4 / 2**20] * 2 + [0])


def test_estimates_come_from_finished_jobs_where_there_are_some(plan: Plan, here: Pool) -> None:
    jobs = jobs_of(replace(plan, variants=("raw:d", "raw"), seeds=(0, 1), settings={}))
    estimates = dict(zip([(j.method, j.seed) for j in jobs], estimate_jobs(jobs, {}), strict=True))
    assert estimates["raw:d", 0].basis == "calibration"
    assert estimates["raw", 0].seconds > estimates["raw:d", 0].seconds > 0
    first = [job for job in jobs if job.method == "ridge" and job.seed == 0]
    run_sweep(first, plan.out, here)
    past = read_jobs(plan.out)
    estimates = dict(zip([(j.method, j.seed) for j in jobs], estimate_jobs(jobs, past), strict=True))
    assert estimates["ridge", 1].basis == "finished"
    assert estimates["ridge", 1].seconds == float(past[first[0].name]["seconds"])


def test_sequences_are_those_of_the_papers_blocks() -> None:
    counts = {"raw:d": 5, "raw:c": 10, "raw": 15, "aux": 10, "aux+siamese": 10, "raw+aux": 25}
    # Ours has one sequence a mark, in both orders of the cells, over a quarter of the steps.
    counts["antisymmetric"] = 5 * 2 / 4
    assert {variant: sequences(variant, 5) for variant in counts} == counts


@pytest.fixture
def a_step_takes_10_ms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffchrom.deepdiff.timing.step_seconds", lambda *_: 0.010)


@pytest.mark.usefixtures("a_step_takes_10_ms")
def test_an_ensemble_takes_the_time_of_its_members_and_the_memory_of_one(plan: Plan) -> None:
    plan = replace(plan, variants=("antisymmetric",), baselines=(), settings={})
    single = replace(plan, settings={"ensemble": 1})
    (five,), (one,) = (estimate_jobs(jobs_of(each), {}) for each in (plan, single))
    # 36 training genes are 18 batches of 2, and at least 600 steps are 34 epochs; a tenth more for the rest.
    assert one.seconds == pytest.approx(3 + 34 * 18 * 0.010 * 1.1)
    assert five.seconds == pytest.approx(3 + 5 * 34 * 18 * 0.010 * 1.1)
    assert five.memory_mb == one.memory_mb
    (job,), (of_one,) = jobs_of(plan), jobs_of(single)
    assert relative_cost([job])[job.name] == 5 * relative_cost([of_one])[of_one.name]


@pytest.mark.usefixtures("a_step_takes_10_ms")
def test_epochs_that_were_asked_for_are_the_estimate_and_sequences_the_memory(plan: Plan) -> None:
    jobs = jobs_of(replace(plan, variants=("raw:d", "raw+aux"), baselines=(), settings={"epochs": 2}))
    raw_d, raw_aux = estimate_jobs(jobs, {})
    assert raw_d.seconds == raw_aux.seconds == pytest.approx(3 + 2 * 18 * 0.010 * 1.1)
    # Two marks of 20 bins, 60 genes predicted at once, twice 32 units: five times the sequences' states.
    state = 5 * 60 * 20 * 2 * 32 * 4 / 2**20
    assert raw_aux.memory_mb - raw_d.memory_mb == pytest.approx((10 - 2) * state)


def test_a_calibration_takes_time_and_knows_every_variant() -> None:
    for variant in VARIANTS:
        assert step_seconds(variant, hyperparameters("default", hidden=4), 2, TSS_LAYOUT, 4) > 0
    classes = hyperparameters("published", hidden=4, aux_task="classification")
    assert step_seconds("aux+siamese", classes, 2, TSS_LAYOUT, 4) > 0


# ---- processes


@pytest.mark.parametrize(
    ("cores", "jobs", "workers", "shares"),
    [
        (2, 10, None, (2, 1)),
        (8, 3, None, (3, 2)),
        (8, 10, 2, (2, 4)),
        (2, 1, None, (1, 2)),
        (1, 0, None, (1, 1)),
    ],
)
def test_cores_are_used_once(cores: int, jobs: int, workers: int | None, shares: tuple[int, int]) -> None:
    assert share_cores(cores, jobs, workers) == shares


def test_more_workers_than_cores_are_refused() -> None:
    with pytest.raises(UsageError, match="more than the 2 cores"):
        share_cores(2, 10, 3)


def kill_once(job: Job, out: Path, threads: int, worker: int) -> Outcome:
    """Run a job, but kill its process the first time."""
    worker_tasks.die(str(out / f"{job.name}.killed"), 1)
    return run_job(job, out, threads, worker)


def test_a_job_whose_process_is_killed_is_run_again(
    plan: Plan, here: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffchrom.sweeps.running.run_job", kill_once)
    with LocalPool(1, purpose=SWEEPING) as pool:
        (outcome,) = run_sweep(jobs_of(plan), plan.out, pool)
    assert (outcome.status, outcome.reason) == ("finished", "")
    assert (plan.out / f"{outcome.job.name}.killed").read_text() == "x"


def kill_always(job: Job, out: Path, threads: int, worker: int) -> Outcome:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_job_that_always_kills_its_process_fails_and_says_what_helps(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffchrom.sweeps.running.run_job", kill_always)
    with LocalPool(1, purpose=SWEEPING) as pool:
        (outcome,) = run_sweep(jobs_of(plan), plan.out, pool)
    said = "running it crashed its worker process 3 times (SIGKILL); out of memory? use fewer `workers`"
    assert outcome.reason == said


def test_a_process_of_its_own_gives_the_same_bytes(plan: Plan, here: Pool, tmp_path: Path) -> None:
    jobs = jobs_of(replace(plan, variants=("raw:d", "aux+siamese"), baselines=()))
    run_sweep(jobs, tmp_path / "here", here)
    with LocalPool(1, purpose=SWEEPING) as pool:  # one: every process imports torch for seconds
        run_sweep(jobs, tmp_path / "processes", pool)
    first = model_bytes(tmp_path / "here")
    assert len(first) == 2
    assert model_bytes(tmp_path / "processes") == first


# ---- Dask


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path) as started:
        yield started


def kill_the_dask_worker_once(job: Job, out: Path, threads: int, worker: int) -> Outcome:
    worker_tasks.kill_the_dask_worker_once(str(out / "marker"))
    return run_job(job, out, threads, worker)


def test_a_dask_cluster_gives_the_same_bytes_and_a_killed_worker_costs_no_job(
    plan: Plan, here: Pool, tmp_path: Path, cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, workers = cluster.address, cluster.workers
    jobs = jobs_of(replace(plan, variants=("aux",)))
    run_sweep(jobs, tmp_path / "here", here)
    with dask_pool(address, SWEEPING, ahead=1, timeout=60) as pool:
        wait_for(lambda: sum(pool._sizes()) == 2)
        outcomes = run_sweep(jobs, tmp_path / "dask", pool)
        assert [outcome.reason for outcome in outcomes] == ["", ""]
        assert model_bytes(tmp_path / "dask") == model_bytes(tmp_path / "here")
        monkeypatch.setattr("diffchrom.sweeps.running.run_job", kill_the_dask_worker_once)
        (outcome,) = run_sweep(jobs[:1], tmp_path / "killed", pool)
        assert outcome.reason == ""
        wait_for(lambda: sum(pool._sizes()) == 1)
        wait_for(lambda: {worker.poll() for worker in workers} == {None, -signal.SIGKILL})


def test_a_lost_scheduler_fails_the_sweep_and_none_of_its_jobs(plan: Plan, tmp_path: Path) -> None:
    with (
        dask_cluster(tmp_path, n_workers=0) as cluster,
        pytest.raises(ClusterLostError, match="the scheduler is gone; start it again"),
        dask_pool(cluster.address, SWEEPING, ahead=1, timeout=60) as pool,
    ):
        pool._executor = SchedulerKiller(pool._executor, cluster, after=1)
        run_sweep(jobs_of(plan), plan.out, pool)
    assert {row["status"] for row in read_jobs(plan.out).values()} == {"queued"}


def test_a_dead_dask_address_is_an_error_soon() -> None:
    pytest.importorskip("distributed", reason="the dask extra is not installed")
    address = f"tcp://127.0.0.1:{free_port()}"
    started = time.monotonic()
    with pytest.raises(UsageError, match="no Dask scheduler answers"), dask_pool(address, timeout=1):
        pass
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("address", ["nonsense", "http://x", "tcp://", "tcp://127.0.0.1:notaport"])
def test_a_dask_address_of_the_wrong_form_is_an_error(address: str) -> None:
    pytest.importorskip("distributed", reason="the dask extra is not installed")
    with pytest.raises(UsageError, match="`dask="), dask_pool(address, timeout=1):
        pass


# ---- the command


def run_cli(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_the_live_table_tells_jobs_workers_and_time_left(plan: Plan) -> None:
    from rich.console import Console

    from diffchrom.commands.sweep_view import _table, duration

    first, second = jobs_of(replace(plan, baselines=("ridge", "mean")))
    progress = Progress(10, expected={first.name: 1.0, "A1-B2.raw": 1.0}, workers=2, finished_before=2)
    assert math.isnan(progress.seconds_left)
    progress.outcomes.append(Outcome(first, "finished", seconds=5070.0))
    progress.pending.append(second)
    progress.running["A1-B2.raw"] = time.monotonic() - 70
    console = Console(width=90, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(_table(progress))
    console.file.close()
    head, _, row = console.export_text().splitlines()[:3]
    assert head == "3/10 jobs done, 0 failed · 1 running on 2 workers · 1 h 23 min left"
    assert row.split() == ["A1-B2.raw", "1", "min"]
    assert [duration(s) for s in (float("nan"), 5.0, 59.9, 61.0)] == ["?", "5 s", "1 min", "1 min"]


def test_the_command_lists_runs_and_fails_with_its_jobs(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    common = ["sweep", "--store", str(store.path), "--out", str(out), "--threads", "1"]
    methods = ["--baselines", "mean", "ridge", "--pairs", "A1,B2", "A1,C3"]
    assert run_cli(*common, *methods, "--dry-run") == 0
    listed = capsys.readouterr()
    assert len(listed.out.splitlines()) == 5
    assert listed.out.splitlines()[0].split("\t")[-3:] == ["seconds", "memory_mb", "basis"]
    assert not out.exists()
    assert run_cli(*common, *methods) == 0
    made = capsys.readouterr()
    assert made.out.splitlines()[0].startswith("run\tvariant\tpair")
    assert len(made.out.splitlines()) == 5
    assert "[4/4]" in made.err
    assert run_cli(*common, *methods, "--marks", "H3K4me3", "-q") == 1
    failed = capsys.readouterr()
    assert "holds a run with other marks" in failed.err
    assert "4 of 4 jobs failed" in failed.err
    assert run_cli(*common, "--baselines", "best") == 2
