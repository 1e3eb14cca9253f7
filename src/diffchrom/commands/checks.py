"""What values of options mean, and which of them are refused before anything is opened."""

from __future__ import annotations

import typer

from diffchrom.config import DEVICES, is_device
from diffchrom.errors import UsageError, did_you_mean


def split_names(value: str | None) -> tuple[str, ...] | None:
    """Turn ``a,b,c`` into a tuple; None stays None."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names or len(set(names)) != len(names):
        raise UsageError(f"{value!r}: give names with commas between them, each once")
    return names


def listed(values: list[str] | None, *, commas: bool = True) -> tuple[str, ...] | None:
    """Names of an option that takes several: given again, or with spaces (or commas) between them."""
    if not values:
        return None
    words = " ".join(values)
    return tuple((words.replace(",", " ") if commas else words).split())


def was_given(context: typer.Context, name: str) -> bool:
    """Whether the parameter was named on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def check_choice(option: str, value: str, choices: tuple[str, ...]) -> str:
    """Return `value`, or raise UsageError with the choices there are."""
    if value not in choices:
        raise UsageError(
            f"{option} {value}: unknown; choose one of {', '.join(choices)}{did_you_mean(value, choices)}"
        )
    return value


def check_device(name: str) -> None:
    """Refuse what is the name of no device."""
    if not is_device(name):
        check_choice("--device", name, (*DEVICES, "cuda:N"))
