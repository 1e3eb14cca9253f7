"""All models of a run: one, or those of an ensemble, which differ in their seed and may train side by side.

Half of a training step is spent outside the LSTM kernel, on one core; several models, each in a process of
its own with its share of the cores, leave none of them idle. The kernel gives the same bits for any number of
threads, so it makes no difference to the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.checkpoint import TrainingState, load_training, refusing
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.examples import Examples, load_examples, save_examples
from diffchrom.deepdiff.fitting import Member, batches_per_epoch, fit_member
from diffchrom.deepdiff.fused_lstm import kernel_threads
from diffchrom.deepdiff.inference import build_model, ensemble_size
from diffchrom.deepdiff.lstm import backend_name, threads_for_lstm
from diffchrom.deepdiff.model import DeepDiff
from diffchrom.reporting import Reporter, Task
from diffchrom.workers import Wording, WorkerPool, WorkItem, tell

#: Genes that a model must be shown in all its epochs for a process of its own to pay: starting one and
#: importing torch takes as long as a few thousand.
WORTH_A_PROCESS = 8000

_WORDING = Wording(
    doing="training it",
    undone="not trained",
    advice="go on with --resume",
    memory="go on with --resume and fewer --threads",
)


def members_of(folder: Path, variant: str, settings: Hyperparameters, seed: int) -> list[Member]:
    """All members of the run in `folder`."""
    size = ensemble_size(variant, settings)
    return [Member(folder, variant, settings, seed, number) for number in range(size)]


def fit_members(
    members: Sequence[Member], train_set: Examples, valid_set: Examples, processes: int, reporter: Reporter
) -> tuple[DeepDiff, list[TrainingState]]:
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
    at_a_time = min(processes, len(waiting), _worth(n_epochs * n_genes, train_set))
    with reporter.task("training", len(members) * n_epochs * n_batches) as task:
        task.advance(sum(epochs) * n_batches)
        if at_a_time > 1:
            _side_by_side(waiting, train_set, valid_set, at_a_time, task)
        with threads_for_lstm(train_set.device):
            states = [fit_member(member, train_set, valid_set, task) for member in members]
    models = []
    for member, state in zip(members, states, strict=True):
        models.append(build_model(member.variant, train_set.a.shape[1], settings).to(train_set.device))
        with refusing(member.checkpoint):
            models[-1].load_state_dict(state.best)
    return (models[0] if len(models) == 1 else Ensemble(models)), states


def _worth(genes_shown: int, examples: Examples) -> int:
    """Most processes that pay: one a core where the kernel serves and there is enough to do, else one."""
    worth = examples.device.type == "cpu" and not examples.on_disk and backend_name() == "fused"
    return torch.get_num_threads() if worth and genes_shown >= WORTH_A_PROCESS else 1


def _side_by_side(
    members: Sequence[Member], train_set: Examples, valid_set: Examples, at_a_time: int, task: Task
) -> None:
    """Train members in processes of their own; what they come to is in their checkpoints."""
    cores = torch.get_num_threads()
    folder = members[0].folder
    shared = folder / ".resume-examples.tmp"
    # The last ones have all cores to themselves.
    last = len(members) % at_a_time
    threads = [cores // at_a_time] * (len(members) - last) + [cores // max(last, 1)] * last
    arguments = [
        {"member": member, "examples": shared, "threads": count}
        for member, count in zip(members, threads, strict=True)
    ]
    items = [WorkItem(str(folder), f"{__name__}:{fit_apart.__name__}", each) for each in arguments]
    try:
        save_examples(shared, {"train": train_set, "valid": valid_set})
        with WorkerPool(at_a_time, wording=_WORDING) as pool:
            outcomes = pool.run(items, time_limit=math.inf, told=lambda _, steps: task.advance(*steps))
            for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error
    finally:
        for leftover in folder.glob(".resume*.tmp"):  # also of a worker that was killed while it wrote
            leftover.unlink(missing_ok=True)


class _ToldTask:
    """Tells the process that has started this one what is done."""

    def advance(self, steps: int = 1, status: str = "") -> None:
        tell((steps, status))


def fit_apart(member: Member, examples: Path, threads: int) -> None:
    """Train one member in a worker process, with so many threads of the kernel."""
    train_set, valid_set = (load_examples(examples, part) for part in ("train", "valid"))
    with kernel_threads(threads):
        fit_member(member, train_set, valid_set, _ToldTask())
