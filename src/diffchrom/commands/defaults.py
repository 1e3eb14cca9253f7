"""Defaults of ``diffchrom.toml`` (`config.folder_defaults`) as the command line takes them."""

from __future__ import annotations

from typing import Any

from diffchrom.config import folder_defaults

#: Commands whose parameter of the same name a key stands for; ``store`` is `config.default_store`'s.
_TAKERS = {
    "pair": ("train", "baseline"),  # not predict and attend: there a pair is another one than the run's own
    "threads": ("prepare", "train", "predict", "attend", "gene", "baseline", "sweep", "demo"),
}

#: Of those, what may be given more than once.
_SEVERAL = ("pair",)


def default_map() -> dict[str, dict[str, Any]]:
    """Return the defaults by command and parameter."""
    defaults: dict[str, dict[str, Any]] = {}
    for key, value in folder_defaults().items():
        for command in _TAKERS.get(key, ()):
            defaults.setdefault(command, {})[key] = [value] if key in _SEVERAL else value
    return defaults
