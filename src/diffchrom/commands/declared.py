"""Commands whose options are the fields of a dataclass: declared in one place, passed on as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Asked = TypeVar("Asked")


def takes(options: type[Asked]) -> Callable[[Callable[[Asked], None]], Callable[..., None]]:
    """Make a command of a function of `options`, a dataclass with fields annotated as Typer's options are."""

    def decorate(function: Callable[[Asked], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**values: Any) -> None:
            function(options(**values))

        command.__dict__["__signature__"] = inspect.signature(options, eval_str=True)
        return command

    return decorate
