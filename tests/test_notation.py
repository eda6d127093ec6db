"""The machinery of this suite: what becomes of a test in the `yield` notation."""

import ast
import inspect
import linecache
import threading

import pytest
from notation import as_written, both, translate

import tonio.colored as tonio


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("import tonio.colored as tonio", "import tonio as tonio"),
        ("from tonio.colored import sync, yield_now", "from tonio import sync"),
        ("from tonio.colored.net import socket", "from tonio.net import socket"),
        ("from tonio.exceptions import WouldBlock", "from tonio.exceptions import WouldBlock"),
        ("async def f(): return await g(await h())", "def f(): return (yield g((yield h())))"),
        ("async def f(): await tonio.yield_now()", "def f(): yield"),
        ("async def f(): 'doc'; return 1", "def f():\n 'doc'\n if False: yield\n return 1"),
        (
            "async def f():\n async def g(): await x\n await g()",
            "def f():\n def g(): yield x\n yield g()",
        ),
        (
            "async def f():\n async with lock() as l: await x",
            "def f():\n with (yield lock()) as l: yield x",
        ),
        (
            "async def f():\n async with tonio.scope() as s: s.spawn(g())",
            "def f():\n with tonio.scope() as s: s.spawn(g())\n yield s()",
        ),
        (
            "async def f():\n async with scope(), lock(): pass",
            "def f():\n with scope() as _scope_1, (yield lock()): pass\n yield _scope_1()",
        ),
        (
            "async def f():\n async for a, b in xs: await a",
            (
                "def f():\n for _operation_1 in xs:\n  try:\n   a, b = yield _operation_1\n"
                "  except __import__('tonio').exceptions.EndOfChannel: continue\n  yield a"
            ),
        ),
    ],
)
def test_translation(written: str, meant: str) -> None:
    assert translate(written, "await") == written
    assert translate(written, "yield") == ast.unparse(ast.parse(meant))


@pytest.mark.parametrize(
    "source",
    [
        "async def f():\n yield 1",
        "class A:\n async def __aenter__(self): await x",
        "@as_written\nasync def f(): await x",
        "@notation.as_written\ndef f():\n async def g(): await x",
        "@both(threads=(1,), notations=('await',))\nasync def f(): [x async for x in y]",
        "def f():\n yield x",
    ],
)
def test_what_has_no_counterpart_stays(source: str) -> None:
    assert translate(source, "yield") == ast.unparse(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "async def f():\n async with lock: pass",
        "async def f():\n async with scope() as s: return 1",
        "async def f():\n for x in y:\n  async with scope() as s: break",
    ],
)
def test_what_cannot_be_expressed_is_refused(source: str) -> None:
    with pytest.raises(SyntaxError, match="line"):
        translate(source, "yield")


def test_a_loop_in_a_scope_may_be_left() -> None:
    source = "async def f():\n async with scope() as s:\n  for x in y: break"
    assert "break" in translate(source, "yield")


@both
async def test_variant_is_in_its_notation(notation: str) -> None:
    async def nested() -> None:
        pass

    coroutine = nested()
    assert inspect.iscoroutine(coroutine) == (notation == "await")
    assert inspect.isgenerator(coroutine) == (notation == "yield")
    await coroutine
    assert inspect.iscoroutinefunction(helper) == (notation == "await")
    assert hasattr(tonio, "yield_now") == (notation == "await")


async def helper() -> int:
    return 1


@as_written
async def written_helper() -> int:
    return 2


@both
async def test_helpers_are_in_the_notation_too() -> None:
    assert await helper() == 1
    assert inspect.iscoroutinefunction(written_helper)
    assert await written_helper() == 2


@both
async def test_number_of_threads(threads: int, tmp_path: object, notation: str) -> None:
    assert threads in {1, 2, 4}
    assert tmp_path is not None
    assert notation in {"await", "yield"}
    assert len(tonio.runtime_stats()) <= threads


@both(threads=(1,), notations=("yield",))
def test_plain_test_is_called_as_it_is(threads: int, notation: str) -> None:
    assert (threads, notation) == (1, "yield")
    assert threading.current_thread() is threading.main_thread()


@both(threads=(1,))
async def test_assertions_explain_themselves() -> None:
    numbers = [1, 2]
    with pytest.raises(AssertionError) as caught:
        assert sum(numbers) == await helper()
    assert "3 = sum([1, 2])" in str(caught.value)
    assert caught.value.__traceback__ is not None
    line = linecache.getline(__file__, caught.value.__traceback__.tb_lineno)
    assert "assert sum(numbers) == await helper()" in line
