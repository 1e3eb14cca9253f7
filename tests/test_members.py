"""Members of an ensemble that train side by side, in processes, come to what they come to in turn."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from conftest import Case, make_store, running, train, training, wait_for
from diffchrom.config import hyperparameters
from diffchrom.deepdiff import members
from diffchrom.deepdiff.checkpoint import TrainingState
from diffchrom.deepdiff.examples import GeneTensors, load_examples, save_examples
from diffchrom.deepdiff.fitting import fit_member
from diffchrom.deepdiff.loss import Targets
from diffchrom.deepdiff.lstm import backend_name
from diffchrom.deepdiff.model import CELL_A, CELL_B
from diffchrom.errors import DiffchromError, RunError
from diffchrom.progress import SilentReporter
from diffchrom.runs.folder import Run
from diffchrom.runs.tables import HISTORY_COLUMNS
from diffchrom.store.store import Store

FILES = {"config.json", "history.tsv", "model.safetensors", "predictions.tsv"}
SETTINGS = hyperparameters("default", hidden=4, epochs=3, ensemble=3)
#: Enough epochs to be interrupted in.
LONG = {"epochs": 60, "patience": 60, "min_batches": 2}

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
needs_kernel = pytest.mark.skipif(backend_name() != "fused", reason="the fused kernel is not built here")


@pytest.fixture
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(members, "WORTH_A_PROCESS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Counter(SilentReporter):
    """Counts what its task of training is told, and keeps notes."""

    def __init__(self) -> None:
        self.steps = self.total = 0
        self.notes: list[str] = []

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Any]:
        with super().task(description, total) as silent:
            if description == "training":
                self.total = total or 0
            yield self if description == "training" else silent

    def advance(self, steps: int = 1, status: str = "") -> None:
        self.steps += steps

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Run]:
    folder = tmp_path_factory.mktemp("long")
    store = make_store(folder / "s.h5")
    return store, train(job(store, **LONG), folder / "whole")


def job(store: Store, **settings: object) -> Case:
    changed = hyperparameters("default", **{**SETTINGS.to_dict(), **settings})
    return training(store.path, settings=changed, device="cpu")


def assert_same_run(first: Run, second: Run) -> None:
    assert set(os.listdir(first.path)) == set(os.listdir(second.path)) == FILES
    for file in FILES - {"config.json"}:
        assert (first.path / file).read_bytes() == (second.path / file).read_bytes()
    assert first.config.metrics == second.config.metrics


def child_processes(parent: int) -> list[int]:
    """Worker processes of a process."""
    shown = subprocess.run(
        ["ps", "-ww", "--ppid", str(parent), "-o", "pid=,args="], capture_output=True, text=True
    )
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    return [int(pid) for pid, command in lines if "diffchrom.processes.pool" in command]


@needs_kernel
@pytest.mark.usefixtures("_two_threads")
def test_side_by_side_or_in_turn_the_bytes_are_the_same(
    toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three members on two cores: two at a time, then the last with both cores."""
    started = []
    give = members.Call
    monkeypatch.setattr(members, "Call", lambda *call: started.append(call[2]["threads"]) or give(*call))
    beside = train(job(toy_store), tmp_path / "beside", reporter=(counter := Counter()))
    assert started == [1, 1, 2]
    assert 0 < counter.steps == counter.total
    torch.set_num_threads(1)
    assert_same_run(beside, train(job(toy_store), tmp_path / "in turn"))
    assert len(started) == 3


@needs_kernel
@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize(
    ("changes", "memory"),
    [({"ensemble": 1}, None), ({}, 1), ({}, 1_200_000_000)],
    ids=["one", "disk", "room"],
)
def test_one_model_or_too_little_memory_needs_no_process(
    changes: dict[str, object],
    memory: int | None,
    toy_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(members, "_side_by_side", lambda *_: pytest.fail("processes were started"))
    assert train(job(toy_store, **changes), tmp_path / "run", memory=memory).config.status == "finished"


def test_few_genes_are_not_worth_a_process(
    toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "_side_by_side", pytest.fail)
    torch.set_num_threads(2)
    train(job(toy_store), tmp_path / "run")


@needs_linux
@needs_kernel
@pytest.mark.usefixtures("_two_threads")
def test_a_member_that_is_killed_costs_no_other_its_epochs(
    long_run: tuple[Store, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, whole = long_run
    folder = tmp_path / "broken"

    killed = []

    def kill_one(task: object, steps: int = 1, status: str = "") -> None:
        if not killed and (folder / "resume.safetensors").exists():
            killed.append(child_processes(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr("diffchrom.progress._SilentTask.advance", kill_one)
    with pytest.raises(DiffchromError, match=r"broken: training it crashed .*SIGKILL.*`resume` and fewer"):
        train(job(store, **LONG), folder)
    assert child_processes(os.getpid()) == []
    assert {name for name in os.listdir(folder) if not name.startswith("resume")} == {"config.json"}
    monkeypatch.undo()
    torch.set_num_threads(1)
    assert_same_run(whole, train(job(store, **LONG), folder, resume=True, reporter=(counter := Counter())))
    assert counter.steps == counter.total
    assert any("going on after epoch" in note for note in counter.notes)


@needs_kernel
@pytest.mark.usefixtures("_two_threads")
def test_members_that_are_done_are_not_trained_again(
    toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when one of three had ended: the others train side by side, and the sum is the same."""
    whole = train(job(toy_store), tmp_path / "whole")
    folder = tmp_path / "run"
    monkeypatch.setattr("diffchrom.deepdiff.members.fit_member", stop_after(1))
    torch.set_num_threads(1)
    with pytest.raises(KeyboardInterrupt):
        train(job(toy_store), folder)
    assert {name for name in os.listdir(folder) if name.startswith("resume")} == {"resume.safetensors"}
    monkeypatch.undo()
    monkeypatch.setattr(members, "WORTH_A_PROCESS", 0)
    torch.set_num_threads(2)
    again = train(job(toy_store), folder, resume=True, reporter=(counter := Counter()))
    assert any("going on after epoch 3, 0, 0 of 3" in note for note in counter.notes)
    assert counter.steps == counter.total
    assert_same_run(whole, again)


def stop_after(n: int) -> Callable[..., TrainingState]:
    """Fit so many members, then be interrupted."""
    done: list[int] = []

    def fit(*arguments: Any) -> TrainingState:
        if len(done) == n:
            raise KeyboardInterrupt
        done.append(1)
        return fit_member(*arguments)

    return fit


@needs_kernel
@pytest.mark.usefixtures("_two_threads")
def test_without_room_to_share_the_genes_members_train_in_turn(
    toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("No space left on device")

    whole = train(job(toy_store), tmp_path / "whole")
    monkeypatch.setattr("diffchrom.deepdiff.examples.save_file", full)
    run = train(job(toy_store), tmp_path / "run", reporter=(counter := Counter()))
    assert any("No space left" in note and "one after the other" in note for note in counter.notes)
    assert_same_run(whole, run)


@pytest.mark.parametrize(("cores", "n", "expected"), [(2, 1, [2]), (3, 2, [2, 1]), (8, 5, [2, 2, 2, 1, 1])])
def test_all_cores_are_shared(cores: int, n: int, expected: list[int]) -> None:
    assert members.shares(cores, n) == expected


def test_a_finished_run_is_rid_of_what_its_training_left(toy_store: Store, tmp_path: Path) -> None:
    run = train(job(toy_store, ensemble=1), tmp_path / "run")
    for name in ("resume-2.safetensors", ".resume.safetensors.x1.tmp", "resume.genes.tmp"):
        (run.path / name).touch()
    train(job(toy_store, ensemble=1), run.path, resume=True)
    assert set(os.listdir(run.path)) == FILES


@needs_kernel
@pytest.mark.usefixtures("_two_threads")
def test_a_member_that_diverges_ends_all(toy_store: Store, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run: training diverged in epoch 1 .*lower `lr`") as raised:
        train(job(toy_store, lr=float("nan")), tmp_path / "run")
    assert str(raised.value).count("run:") == 1
    assert not (tmp_path / "run").exists()


TRAIN = """
import sys
import torch
from pathlib import Path
from diffchrom.deepdiff import members
from diffchrom.store.store import Store
from test_members import LONG, job, train
members.WORTH_A_PROCESS = 0
torch.set_num_threads(2)
train(job(Store(sys.argv[1]), **LONG), sys.argv[2], resume=True)
"""


@needs_linux
@needs_kernel
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_ends_leaves_no_process_and_can_go_on(
    how: signal.Signals, long_run: tuple[Store, Run], tmp_path: Path
) -> None:
    store, whole = long_run
    folder = tmp_path / "run"
    with running([sys.executable, "-c", TRAIN, store.path, folder]) as process:
        wait_for((folder / "resume.safetensors").exists)
        workers = child_processes(process.pid)
        assert len(workers) == 2
        process.send_signal(how)
        assert process.wait(60) != 0
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    if how == signal.SIGINT:
        assert not list(folder.glob(".*"))
    assert_same_run(whole, train(job(store, **LONG), folder, resume=True))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"epoch": 3}, "no history of 3 epochs"),
        ({"history": {}}, "'epoch'"),
        ({"best": {"weight": torch.zeros(2)}}, "Unexpected key"),
        ({"model": {"weight": torch.zeros(2)}, "epoch": 1}, "Unexpected key"),
        ({"epoch": "many"}, "invalid literal"),
        ({"epoch": math.inf}, "infinity"),
    ],
    ids=["short", "empty", "foreign", "foreign weights", "text", "infinite"],
)
def test_a_foreign_checkpoint_is_refused_in_one_line(
    state: dict[str, Any], said: str, toy_store: Store, tmp_path: Path
) -> None:
    run = train(job(toy_store, ensemble=1, epochs=2), tmp_path / "run")
    whole = {"epoch": 2, "best_epoch": 2, "best_score": 0.5, "best": {}, "model": {}} | state
    epochs = whole["epoch"] if whole["epoch"] in (1, 2) else 2
    whole.setdefault("history", dict.fromkeys(HISTORY_COLUMNS, [1.0] * epochs))
    tensors = {
        f"{part}/{name}": value for part in ("best", "model") for name, value in whole.pop(part).items()
    }
    save_file(
        tensors or {"best/none": torch.zeros(1)},
        run.path / "resume.safetensors",
        {"state": json.dumps(whole)},
    )
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps(config | {"status": "training"}))
    with pytest.raises(RunError, match=rf"resume.safetensors: cannot go on .*{said}.*`force`"):
        train(job(toy_store, ensemble=1, epochs=2), run.path, resume=True)


def test_examples_come_back_as_they_were(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    expression = torch.rand(7, generator=generator)
    expression[2] = torch.nan
    weighed = Targets(
        torch.rand(7), {CELL_A: expression, CELL_B: expression + 1}, torch.rand(7), complete=False
    )
    plain = Targets(torch.rand(3), {})
    parts = {
        part: GeneTensors(
            torch.rand(n, 2, 5), torch.rand(n, 2, 5), targets, torch.device("cpu"), covariates=covariates
        )
        for part, n, targets, covariates in (
            ("train", 7, weighed, torch.rand(7, 3)),
            ("valid", 3, plain, None),
        )
    }
    save_examples(tmp_path / "x", parts)
    for part, examples in parts.items():
        again = load_examples(tmp_path / "x", part)
        assert len(again) == len(examples)
        for field in ("a", "b"):
            assert torch.equal(getattr(again, field), getattr(examples, field))
        assert len(again.inputs) == len(examples.inputs)
        assert all(map(torch.equal, again.inputs, examples.inputs))
        assert torch.equal(again.targets.log2fc, examples.targets.log2fc)
        assert again.targets.expression.keys() == examples.targets.expression.keys()
        for block, values in examples.targets.expression.items():
            np.testing.assert_array_equal(again.targets.expression[block].numpy(), values.numpy())
        assert again.targets.complete == examples.targets.complete
        assert (again.targets.weight is None) == (examples.targets.weight is None)
    assert torch.equal(load_examples(tmp_path / "x", "train").targets.weight, weighed.weight)
