"""What the tests with generated arguments share: strategies, and what comes of a call.

Each example is carried out on a pair of twins, a socket of the standard module and one of ours;
what comes of every call is compared. Errors of the system must be the same; errors in arguments
need not be of the same class, since two of them may be found in another order. Where ours are
meant to differ, the tests say so. `TONIO_EXAMPLES` is the number of examples per test.
"""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import tonio

EXAMPLES = int(os.environ.get("TONIO_EXAMPLES", "100"))

generated = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

Outcome = tuple[str, Any]

WRONG = ("wrong argument", None)


def outcome(call: Callable[..., Any], *arguments: Any) -> Outcome:
    """What comes of a call, as something that can be compared; an operation is carried out."""
    try:
        result = call(*arguments)
        if hasattr(result, "__await__"):
            result = tonio.run(result, threads=1)
    except OSError as error:
        # Without a number it does not come from the system: "AF_UNIX path too long".
        return WRONG if error.errno is None else (type(error).__name__, error.errno)
    except (TypeError, ValueError, OverflowError, BufferError):
        return WRONG
    return "result", result


# A few of each sort. Not st.text(), which takes its time to find out what all characters are.
CHARACTERS = "aZ09.:%-_~ \\\x01\x7f\xe4\xdf\u20ac\u4e2d\u200d\U0001d11e\0\udc80\udcff\ud800"


def texts(most: int, least: int = 0, of: str = CHARACTERS) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(of), min_size=least, max_size=most).map("".join)


def one(choice: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Keeps its alternatives from counting as those of a larger choice."""
    return st.tuples(choice).map(lambda item: item[0])


def mostly(right: st.SearchStrategy[Any], *wrong: st.SearchStrategy[Any]) -> Any:
    """`right`, nine times out of ten."""
    return st.one_of(*[one(right) for _ in range(9)], one(st.one_of(*wrong)))


JUNK = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    texts(5),
    st.binary(max_size=5),
    st.just(object()),
    st.lists(st.integers(0, 3), max_size=5),
)
