"""A call that crashes, hangs or fails costs one error that names its track, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from bdb import BdbQuit
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

import worker_tasks
from conftest import running, wait_for
from diffchrom.processes.cluster import DaskPool
from diffchrom.processes.pool import Call, LocalPool, Pool, Purpose, Reply

pytestmark = pytest.mark.usefixtures("_nothing_stays_beside")
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them"
)


@pytest.fixture(params=[Pool, lambda: LocalPool(2)], ids=["in this process", "in workers"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Every pool in turn, for what must hold in all of them."""
    with request.param() as made:
        yield made


def call(name: str, label: str = "x.bw", **arguments: Any) -> Call:
    return Call(label, getattr(worker_tasks, name), arguments)


def replies(pool: Pool, calls: list[Call], **options: float) -> dict[int, Reply]:
    return {reply.index: reply for reply in pool.run(calls, **options)}


def run(calls: list[Call], **options: float) -> dict[int, Reply]:
    with LocalPool(2) as pool:
        return replies(pool, calls, **options)


class Here(Executor):
    """Runs at once, in this thread, what a cluster would be given."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


def beside(asked: Call, purpose: Purpose = Purpose()) -> Reply:  # noqa: B008
    """The reply of a process beside this one, as a worker of a cluster has."""
    (reply,) = DaskPool(Here(), lambda: [1], purpose).run([asked], time_limit=30.0)
    return reply


def children() -> str:
    shown = subprocess.run(
        ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True
    )
    return shown.stdout


def no_worker_is_left() -> bool:
    return "diffchrom.processes.pool" not in children()


def test_every_call_has_its_own_reply(pool: Pool) -> None:
    made = replies(pool, [call("double", number=i) for i in range(7)])
    assert {index: reply.value for index, reply in made.items()} == {i: 2 * i for i in range(7)}


def test_errors_arrive_as_they_were_raised_and_name_the_track(pool: Pool) -> None:
    made = replies(pool, [call("refuse"), call("break_down", "y.bw"), call("exhaust", "z.bw")])
    assert {index: str(reply.error) for index, reply in made.items()} == {
        0: "x.bw: is empty, not a bigWig",
        1: "y.bw: unexpected ZeroDivisionError: by zero",
        2: "z.bw: not enough memory; use fewer `threads`",
    }


def test_calls_are_drawn_only_when_there_is_room(pool: Pool) -> None:
    drawn = []

    def calls() -> Iterator[Call]:
        for number in range(6):
            drawn.append(number)
            yield call("double", number=number)

    for done, _ in enumerate(pool.run(calls()), 1):
        assert len(drawn) <= done + pool.capacity
    assert drawn == [*range(6)]


def test_a_debugger_that_is_left_ends_the_run_in_this_process() -> None:
    ran = Pool().run([call("leave_the_debugger"), call("double", number=1)])
    with pytest.raises(BdbQuit):
        next(ran)


def test_a_crash_names_the_track_and_spares_the_others() -> None:
    made = run([call("double", number=1), call("crash", "bad.bw"), call("double", number=3)])
    assert made[0].value == 2
    assert made[2].value == 6
    assert "bad.bw: reading it crashed its worker process (SIGSEGV)" in str(made[1].error)


def test_a_hang_ends_at_the_time_limit() -> None:
    began = time.monotonic()
    made = run([call("hang", "slow.bw"), call("double", number=4)], time_limit=2.0)
    assert time.monotonic() - began < 30
    assert "slow.bw: not read within 2 s" in str(made[0].error)
    assert made[1].value == 8


@pytest.mark.parametrize(
    ("name", "said"), [("exhaust", "x.bw: not enough memory; "), ("be_killed", "(SIGKILL); out of memory? ")]
)
def test_the_remedy_for_too_little_memory_is_one_of_the_place_where_it_lacks(name: str, said: str) -> None:
    assert f"{said}use fewer `threads`" in str(run([call(name)])[0].error)
    assert f"{said}use Dask workers with fewer --nthreads" in str(beside(call(name)).error)


def test_prints_of_libraries_do_not_disturb_and_replies_may_be_large() -> None:
    made = run([call("talk"), call("large")])
    assert made[0].value == "done"
    assert len(made[1].value) == 10_000_000


def test_a_call_may_tell_how_far_it_is_before_it_ends() -> None:
    heard: dict[int, list[int]] = {0: [], 1: []}
    with LocalPool(2) as pool:
        calls = [call("count", to=5), call("count", to=3)]
        made = pool.run(calls, told=lambda index, message: heard[index].append(message["number"]))
        assert [reply.value for reply in made] == ["counted", "counted"]
        assert heard == {0: [0, 1, 2, 3, 4], 1: [0, 1, 2]}
        (alone,) = pool.run([call("count", to=2)])  # nobody need listen
    assert alone.value == "counted"


def test_errors_say_what_the_pool_is_for() -> None:
    purpose = Purpose("training it", "not trained", "train it again", "use fewer --threads, then --resume")
    with LocalPool(2, purpose=purpose) as pool:
        names = ("crash", "be_killed", "hang")
        made = replies(pool, [call(name, name) for name in names], time_limit=3.0)
    assert str(made[0].error) == "crash: training it crashed its worker process (SIGSEGV); train it again"
    assert str(made[1].error).endswith("(SIGKILL); out of memory? use fewer --threads, then --resume")
    assert str(made[2].error) == "hang: not trained within 3 s; train it again"


PATIENT = Purpose("running it", memory="use fewer --workers", retries=2)


def test_a_call_whose_process_was_killed_is_tried_again_and_costs_no_other(tmp_path: Path) -> None:
    killed = call("die", marker=str(tmp_path / "once"), times=1)
    with LocalPool(2, purpose=PATIENT) as pool:
        made = replies(pool, [killed, *(call("double", number=i) for i in range(6))])
    assert made[0].value == 1
    assert [made[i + 1].value for i in range(6)] == [2 * i for i in range(6)]
    assert beside(call("die", marker=str(tmp_path / "beside"), times=2), PATIENT).value == 2


def test_a_call_that_always_kills_its_process_is_given_up(tmp_path: Path) -> None:
    doomed = call("die", "a job", marker=str(tmp_path / "always"), times=99)
    with LocalPool(1, purpose=PATIENT) as pool:
        made = replies(pool, [doomed, call("double", number=7)])
    said = (
        "a job: running it crashed its worker process 3 times (SIGKILL); out of memory? use fewer --workers"
    )
    assert str(made[0].error) == said
    assert made[1].value == 14


def test_numerical_libraries_have_the_threads_that_a_worker_is_given() -> None:
    for threads in (1, 3):
        with LocalPool(1, threads) as pool:
            (reply,) = pool.run([call("threads")])
        assert reply.value == str(threads)


def test_workers_are_kept_between_runs_and_gone_at_the_end() -> None:
    with LocalPool(1) as pool:
        first = [reply.value for reply in pool.run([call("process_id")])]
        second = [reply.value for reply in pool.run([call("process_id")])]
        assert first == second
        assert not no_worker_is_left()
    assert no_worker_is_left()


def test_a_kept_worker_that_was_killed_while_idle_costs_no_call() -> None:
    with LocalPool(1) as pool:
        (first,) = pool.run([call("process_id")])
        os.kill(first.value, signal.SIGKILL)
        wait_for(lambda: "<defunct>" in children())
        (second,) = pool.run([call("process_id")])
        assert second.error is None
        assert second.value not in (None, first.value)
    assert no_worker_is_left()


def test_a_kept_worker_that_dies_during_a_shorter_run_costs_no_call() -> None:
    with LocalPool(2) as pool:
        idle = {reply.value for reply in pool.run([call("process_id"), call("process_id")])}
        busy = []

        def kill_the_other(index: int, message: dict[str, int]) -> None:
            if not busy:
                busy.append(message["process"])
                for other in idle - {*busy}:
                    os.kill(other, signal.SIGKILL)

        (reply,) = pool.run([call("count", to=20)], told=kill_the_other)
        assert len(busy) == 1
        assert reply.value == "counted"


def test_workers_are_gone_when_the_caller_stops_early() -> None:
    with LocalPool(2) as pool:
        assert next(pool.run([call("double", number=1), call("hang")])).value == 2
        assert not no_worker_is_left()
    assert no_worker_is_left()


def test_a_process_beside_a_worker_is_kept_for_the_next_call_but_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffchrom.processes.cluster.KEPT_SECONDS", 0.5)
    monkeypatch.chdir(tmp_path)
    first = beside(call("process_id")).value
    assert beside(call("process_id")).value == first != os.getpid()
    assert "x.bw: reading it crashed its worker process (SIGSEGV)" in str(beside(call("crash")).error)
    second = beside(call("process_id")).value
    assert second != first
    assert beside(call("current_folder")).value == str(tmp_path)
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(Path(__file__).parent)
        assert beside(call("current_folder")).value == str(Path(__file__).parent)
    wait_for(no_worker_is_left)
    assert beside(call("process_id")).value not in (first, second)
    wait_for(no_worker_is_left)


def test_a_folder_that_a_worker_of_a_cluster_lacks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffchrom.processes.cluster.KEPT_SECONDS", 0.0)
    monkeypatch.setattr("diffchrom.processes.cluster.Path.is_dir", lambda _: False)
    assert beside(call("current_folder")).value == str(Path.cwd())


@needs_proc
@pytest.mark.parametrize("starting", [False, True], ids=["in a call", "while one starts"])
def test_workers_go_with_a_parent_that_is_killed(tmp_path: Path, *, starting: bool) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\ntime.sleep(float(os.environ.get('START_SECONDS', 0)))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, worker_tasks\n"
        "from diffchrom.processes.pool import Call, LocalPool\n"
        "def calls():\n"
        "    yield Call('a', worker_tasks.tell_and_hang)\n"
        f"    os.environ['START_SECONDS'] = '{3 * starting}'\n"
        f"    yield Call('b', worker_tasks.{'hang' if starting else 'tell_and_hang'})\n"
        "with LocalPool(2) as pool:\n"
        "    for _ in pool.run(calls(), told=lambda _, process: print(process, flush=True)):\n"
        "        pass\n"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path, str(Path(__file__).parent)])
    }
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        try:
            assert parent.stdout is not None
            hanging = {int(parent.stdout.readline()) for _ in range(1 if starting else 2)}
            ours = worker_tasks.descendants(parent.pid)
            assert hanging <= set(ours)
            assert len(ours) == 2
        finally:
            parent.kill()
    wait_for(lambda: all(worker_tasks.state(pid) in "ZX" for pid in ours))


def test_ctrl_c_reaches_the_caller_and_no_worker() -> None:
    with LocalPool(1) as pool:
        (first,) = pool.run([call("process_id")])
        os.kill(first.value, signal.SIGINT)
        time.sleep(0.2)
        (second,) = pool.run([call("process_id")])
        assert second.value == first.value
        assert os.getsid(first.value) == first.value != os.getsid(0)


def test_a_script_without_a_main_guard_may_use_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import operator\n"
        "from diffchrom.processes.pool import Call, LocalPool\n"
        "calls = [Call(str(i), operator.neg) for i in range(2)]\n"
        "with LocalPool(2) as pool:\n"
        "    print(sorted(type(reply.error).__name__ for reply in pool.run(calls)))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "['InputError', 'InputError']\n"
    assert done.stderr == ""


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
