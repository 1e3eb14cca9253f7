"""Writing a model into one file, to be handed on (`handed_on`)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffchrom.errors import RunError
from diffchrom.files.records import as_record
from diffchrom.files.whole import staged
from diffchrom.runs.folder import Run
from diffchrom.runs.handed_on import FORMAT, KEY, MODEL_ALONE, SIGNAL_AT, VERSION
from diffchrom.runs.signal import has_signal, signal_seen

#: What the configuration says of the machine that trained it, which is nobody's business.
_PRIVATE = "path"


def write_model(run: Run, path: Path, card: str) -> None:
    """Write a finished run's model into one file; the same run gives the same bytes.

    Raises
    ------
    RunError
        When it is a baseline, a cross-validation or somebody's own module, or its weights cannot be read.
    OutputError
        When the file cannot be written; then there is none.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save

    config = run.config
    if config.kind != "deepdiff" or config.folds:
        what = "a cross-validation" if config.folds else f"a {config.kind} ({config.variant})"
        raise RunError(f"{run.path}: is {what}; a model that `diffchrom train` made can be handed on")
    arrays, metadata = as_record(signal_seen(run), SIGNAL_AT) if has_signal(run) else ({}, {})
    store = {name: value for name, value in config.store.items() if name != _PRIVATE}
    values: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION if arrays else MODEL_ALONE,
        "config": json.loads(replace(config, store=store).to_json()),
        "card": card,
    }
    try:
        weights = load_file(run.weights)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{run.weights}: cannot be read ({error}); train it again") from error
    content = save(weights | arrays, {KEY: json.dumps(values)} | metadata)
    with staged(path) as temporary:
        temporary.write_bytes(content)
