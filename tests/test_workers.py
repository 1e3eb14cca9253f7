"""A worker that crashes, hangs or fails costs one error that names its track, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import running, wait_for
from diffchrom.processes.apart import packed, run_apart
from diffchrom.processes.workers import Outcome, Wording, WorkerPool, WorkItem


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def item(label: str, name: str, **arguments: int) -> WorkItem:
    return WorkItem(label, f"worker_tasks:{name}", arguments)


def run(items: list[WorkItem], **options: float) -> dict[int, Outcome]:
    with WorkerPool(2) as pool:
        return {outcome.index: outcome for outcome in pool.run(items, **options)}


def test_every_item_has_its_own_outcome() -> None:
    outcomes = run([item(str(i), "double", number=i) for i in range(7)])
    assert {index: outcome.value for index, outcome in outcomes.items()} == {i: 2 * i for i in range(7)}


def test_a_crash_names_the_track_and_spares_the_others() -> None:
    outcomes = run(
        [item("a.bw", "double", number=1), item("bad.bw", "crash"), item("c.bw", "double", number=3)]
    )
    assert outcomes[0].value == 2
    assert outcomes[2].value == 6
    assert "bad.bw: reading it crashed its worker process (SIGSEGV)" in str(outcomes[1].error)


def test_a_hang_ends_at_the_time_limit() -> None:
    began = time.monotonic()
    outcomes = run([item("slow.bw", "hang"), item("b.bw", "double", number=4)], time_limit=2.0)
    assert time.monotonic() - began < 30
    assert "slow.bw: not read within 2 s" in str(outcomes[0].error)
    assert outcomes[1].value == 8


def test_errors_arrive_as_they_were_raised_and_name_the_track() -> None:
    outcomes = run([item("x.bw", "refuse"), item("y.bw", "break_down")])
    assert str(outcomes[0].error) == "x.bw: is empty, not a bigWig"
    assert str(outcomes[1].error) == "y.bw: unexpected ZeroDivisionError: by zero"


@pytest.mark.parametrize(
    ("name", "said"), [("exhaust", "x.bw: not enough memory; "), ("be_killed", "(SIGKILL); out of memory? ")]
)
def test_the_remedy_for_too_little_memory_is_one_of_the_place_where_it_lacks(name: str, said: str) -> None:
    asked = item("x.bw", name)
    assert f"{said}use fewer --threads" in str(run([asked])[0].error)
    there = run_apart(packed(asked), 30.0, str(Path.cwd()))
    assert f"{said}use Dask workers with fewer --nthreads" in str(there.error)


def test_prints_of_libraries_do_not_disturb_and_replies_may_be_large() -> None:
    outcomes = run([item("a", "talk"), item("b", "large")])
    assert outcomes[0].value == "done"
    assert len(outcomes[1].value) == 10_000_000


def test_a_call_may_tell_how_far_it_is_before_it_ends() -> None:
    heard: dict[int, list[int]] = {0: [], 1: []}
    with WorkerPool(2) as pool:
        items = [item("a", "count", to=5), item("b", "count", to=3)]
        outcomes = pool.run(items, told=lambda index, message: heard[index].append(message["number"]))
        assert [outcome.value for outcome in outcomes] == ["counted", "counted"]
        assert heard == {0: [0, 1, 2, 3, 4], 1: [0, 1, 2]}
        (alone,) = pool.run([item("a", "count", to=2)])  # nobody need listen
    assert alone.value == "counted"


def test_errors_say_what_the_pool_is_for() -> None:
    wording = Wording("training it", "not trained", "train it again", "use fewer --threads, then --resume")
    with WorkerPool(2, wording=wording) as pool:
        items = [item(name, name) for name in ("crash", "be_killed", "hang")]
        outcomes = {outcome.index: str(outcome.error) for outcome in pool.run(items, time_limit=3.0)}
    assert outcomes[0] == "crash: training it crashed its worker process (SIGSEGV); train it again"
    assert outcomes[1].endswith("(SIGKILL); out of memory? use fewer --threads, then --resume")
    assert outcomes[2] == "hang: not trained within 3 s; train it again"


def children() -> str:
    shown = subprocess.run(
        ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True
    )
    return shown.stdout


def test_workers_are_kept_between_calls_and_gone_at_the_end() -> None:
    with WorkerPool(1) as pool:
        first = [outcome.value for outcome in pool.run([item("a", "process_id")])]
        second = [outcome.value for outcome in pool.run([item("a", "process_id")])]
        assert first == second
        assert "diffchrom.processes.workers" in children()
    assert "diffchrom.processes.workers" not in children()


def test_a_kept_worker_that_was_killed_while_idle_costs_no_item() -> None:
    with WorkerPool(1) as pool:
        (first,) = pool.run([item("a", "process_id")])
        os.kill(first.value, signal.SIGKILL)
        wait_for(lambda: "<defunct>" in children())
        (second,) = pool.run([item("a", "process_id")])
        assert second.error is None
        assert second.value not in (None, first.value)
    assert "diffchrom.processes.workers" not in children()


def test_a_kept_worker_that_dies_during_a_shorter_run_costs_no_item() -> None:
    with WorkerPool(2) as pool:
        idle = {outcome.index: outcome.value for outcome in pool.run([item("a", "process_id")] * 2)}
        killed = []

        def kill_the_other(index: int, message: dict[str, int]) -> None:
            if not killed:
                (busy,) = (worker.process.pid for worker in pool._busy)
                killed.append(next(pid for pid in idle.values() if pid != busy))
                os.kill(killed[0], signal.SIGKILL)

        (outcome,) = pool.run([item("a", "count", to=20)], told=kill_the_other)
        assert killed
        assert outcome.value == "counted"


def test_workers_are_gone_when_the_caller_stops_early() -> None:
    with WorkerPool(2) as pool:
        assert next(pool.run([item("a", "double", number=1), item("b", "hang")])).value == 2
        assert "diffchrom.processes.workers" in children()
    assert "diffchrom.processes.workers" not in children()


def test_a_worker_apart_is_kept_for_the_next_call_but_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffchrom.processes.apart.KEPT_SECONDS", 0.5)

    def call(name: str, folder: Path = tmp_path) -> Outcome:
        return run_apart(packed(item("a.bw", name)), 30.0, str(folder))

    first = call("process_id").value
    assert call("process_id").value == first != os.getpid()
    assert "a.bw: reading it crashed its worker process (SIGSEGV)" in str(call("crash").error)
    second = call("process_id").value
    assert second != first
    assert call("current_folder").value == str(tmp_path)
    assert call("current_folder", Path(__file__).parent).value == str(Path(__file__).parent)
    assert call("current_folder", tmp_path / "not here").value == str(Path.cwd())
    wait_for(lambda: "diffchrom.processes.workers" not in children())
    assert call("process_id").value not in (first, second)
    wait_for(lambda: "diffchrom.processes.workers" not in children())


PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
SLEEP = """
import subprocess, time
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""


def test_what_a_test_starts_can_be_interrupted_and_is_gone_with_its_block() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a script's background
    try:
        with pytest.raises(ZeroDivisionError), running([sys.executable, "-c", SLEEP], **PIPES) as process:
            sleeper = int(process.stdout.readline())
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == -signal.SIGINT
            raise ZeroDivisionError
    finally:
        signal.signal(signal.SIGINT, before)
    state = ["ps", "-o", "stat=", "-p", str(sleeper)]
    wait_for(lambda: subprocess.run(state, capture_output=True, text=True).stdout.strip()[:1] in ("", "Z"))


def test_a_script_without_a_main_guard_may_use_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from diffchrom.processes.workers import WorkItem, WorkerPool\n"
        "items = [WorkItem(str(i), 'operator:neg', {}) for i in range(2)]\n"
        "with WorkerPool(2) as pool:\n"
        "    print(sorted(type(outcome.error).__name__ for outcome in pool.run(items)))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "['InputError', 'InputError']\n"
    assert done.stderr == ""
