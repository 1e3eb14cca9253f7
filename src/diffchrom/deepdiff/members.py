"""All models of a run: one, or those of an ensemble, which differ in their seed and may train side by side.

A third to a half of a training step is spent outside the LSTM kernel, on one core; several models, each in a
process of its own with its share of the cores, do that at the same time. The kernel gives the same bits for
any number of threads, so it makes no difference to the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.building import seeded
from diffchrom.deepdiff.checkpoint import (
    TrainingState,
    load_training,
    refusing,
    remove_leftovers,
    shared_path,
)
from diffchrom.deepdiff.cuda import computing
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.examples import GeneTensors, load_examples, save_examples
from diffchrom.deepdiff.fitting import Member, batches_per_epoch, fit_member
from diffchrom.deepdiff.fused_lstm import kernel_threads
from diffchrom.deepdiff.lstm import backend_name
from diffchrom.deepdiff.model import PairModel
from diffchrom.errors import OutputError
from diffchrom.genome.layout import Layout
from diffchrom.processes.pool import Call, LocalPool, Purpose, tell
from diffchrom.progress import Reporter, Task
from diffchrom.variants import Variant

#: Genes that a model must be shown in its epochs, ten more for every step, for a process of its own to pay:
#: starting one and importing torch takes as long (`tests/benchmarks/bench_members.py`).
WORTH_A_PROCESS = 11_000

_TRAINING = Purpose(
    doing="training it",
    undone="not trained",
    advice="go on with `resume`",
    memory="go on with `resume` and fewer `threads`",
)


def members_of(
    folder: Path,
    variant: Variant,
    settings: Hyperparameters,
    seed: int,
    layout: Layout,
    module: nn.Module | None = None,
    order: float = 1.0,
    n_cells: int = 0,
) -> list[Member]:
    """All members of the run in `folder`; `module`, `order` and `n_cells` as of `Member`."""
    size = variant.ensemble_size(settings.ensemble)
    return [
        Member(folder, variant, settings, seed, layout, number, module, order, n_cells)
        for number in range(size)
    ]


def fit_members(
    members: Sequence[Member],
    train_set: GeneTensors,
    valid_set: GeneTensors,
    processes: int,
    reporter: Reporter,
) -> tuple[PairModel, list[TrainingState]]:
    """Train every member until patience or epochs run out, from its checkpoint where it has one.

    Parameters
    ----------
    members : of one run.
    train_set, valid_set : genes to learn from, and to choose epochs by.
    processes : most members at a time that the memory has room for.
    reporter : where progress goes.

    Returns
    -------
    model : with the best epoch's weights of each; an `Ensemble` where there is more than one.
    states : of all members.
    """
    remove_leftovers(members[0].folder)
    n_genes, settings, folder = len(train_set), members[0].settings, members[0].folder
    n_epochs, n_batches = settings.epochs_of(n_genes), batches_per_epoch(settings, n_genes)
    saved = [load_training(member.checkpoint, train_set.device) for member in members]
    epochs = [checkpoint.state.epoch if checkpoint else 0 for checkpoint in saved]
    if any(epochs):
        reporter.note(f"{folder}: going on after epoch {', '.join(map(str, epochs))} of {n_epochs}")
    waiting = [
        member
        for member, checkpoint in zip(members, saved, strict=True)
        if checkpoint is None or not member.is_done(checkpoint.state, n_genes)
    ]
    work = (n_epochs - min(epochs)) * (n_genes + 10 * n_batches)
    at_a_time = min(processes, len(waiting), _worth(work, train_set))
    with reporter.task("training", len(members) * n_epochs * n_batches) as task:
        task.advance(sum(epochs) * n_batches)
        if at_a_time > 1:
            _side_by_side(waiting, train_set, valid_set, at_a_time, task, reporter)
        with computing(train_set.device):
            states = [fit_member(member, train_set, valid_set, task) for member in members]
    models = []
    for member, state in zip(members, states, strict=True):
        with seeded(0):  # these weights are replaced; the caller's random numbers are not to be drawn
            model = member.build(train_set)
        models.append(model.to(train_set.device))
        with refusing(member.checkpoint):
            models[-1].load_state_dict(state.best)
    model = models[0] if len(models) == 1 else Ensemble(models)
    model.set_order(members[0].order)
    return model, states


def _worth(work: int, examples: GeneTensors) -> int:
    """Most processes that pay: one a core where the kernel serves and there is enough to do, else one."""
    worth = examples.device.type == "cpu" and not examples.on_disk and backend_name() == "fused"
    return torch.get_num_threads() if worth and work >= WORTH_A_PROCESS else 1


def _side_by_side(
    members: Sequence[Member],
    train_set: GeneTensors,
    valid_set: GeneTensors,
    at_a_time: int,
    task: Task,
    reporter: Reporter,
) -> None:
    """Train members in processes of their own; what they come to is in their checkpoints.

    Where there is no room for the genes that these share, nothing is done.
    """
    folder = members[0].folder
    try:
        try:
            save_examples(shared_path(folder), {"train": train_set, "valid": valid_set})
        except OutputError as error:
            reporter.note(f"{error}; the models train one after the other")
            return
        with LocalPool(at_a_time, purpose=_TRAINING) as pool:
            for first in range(0, len(members), at_a_time):
                _train_together(members[first : first + at_a_time], pool, task)
    finally:
        remove_leftovers(folder)


def _train_together(members: Sequence[Member], pool: LocalPool, task: Task) -> None:
    """Train members at the same time, with all cores between them."""
    calls = [
        Call(str(member.folder), fit_apart, {"member": member, "threads": threads})
        for member, threads in zip(members, shares(torch.get_num_threads(), len(members)), strict=True)
    ]
    for reply in pool.run(calls, time_limit=math.inf, told=lambda _, done: task.advance(*done)):
        if reply.error is not None:
            raise reply.error


def shares(cores: int, n: int) -> list[int]:
    """Divide cores among `n` processes, as evenly as they go."""
    each, more = divmod(cores, n)
    return [each + (number < more) for number in range(n)]


class _ToldTask:
    """Tells the process that has started this one what is done."""

    def advance(self, steps: int = 1, status: str = "") -> None:
        tell((steps, status))


def fit_apart(member: Member, threads: int) -> None:
    """Train one member in a worker process, with so many threads of the kernel."""
    train_set, valid_set = (load_examples(shared_path(member.folder), part) for part in ("train", "valid"))
    with kernel_threads(threads):
        fit_member(member, train_set, valid_set, _ToldTask())
