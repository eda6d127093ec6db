"""Types of the ways to start a runtime."""

from collections.abc import Callable
from typing import Protocol, TypedDict, Unpack, overload, type_check_only

from tonio._core import Runnable, Runtime

__all__ = ["main", "run", "runtime"]

@type_check_only
class _Options(TypedDict, total=False):
    context: bool
    threads: int | None
    blocking_threadpool_size: int
    blocking_threadpool_idle_ttl: float
    shutdown_warning: float

@type_check_only
class _Main(Protocol):
    def __call__[**P, T](self, function: Callable[P, Runnable[T]], /) -> Callable[P, T]: ...

def default_threads() -> int: ...
def runtime(
    *,
    context: bool = False,
    threads: int | None = None,
    blocking_threadpool_size: int = 128,
    blocking_threadpool_idle_ttl: float = 30,
    shutdown_warning: float = 10,
) -> Runtime: ...
def run[T](coro: Runnable[T], /, **options: Unpack[_Options]) -> T: ...
@overload
def main[**P, T](function: Callable[P, Runnable[T]], /) -> Callable[P, T]: ...
@overload
def main(**options: Unpack[_Options]) -> _Main: ...
