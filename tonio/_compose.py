"""Operations that are composed of others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any, ParamSpec, TypeVar

from tonio._core import Operation, delegate

P = ParamSpec("P")
T = TypeVar("T")


def operation(function: Callable[P, Generator[Any, Any, T]]) -> Callable[P, Operation[T]]:
    """Makes a generator function one whose calls can be yielded as well as awaited."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Operation[T]:
        return delegate(function(*args, **kwargs))

    return wrapper
