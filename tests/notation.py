"""Each test is written once, with ``await``, and runs in both notations and on 1, 2 and 4 threads.

    @both
    async def test_event_wakes_its_waiter() -> None:
        event = tonio.Event()
        tonio.spawn(set_later(event))
        assert await event.wait()

becomes the tests ``test_event_wakes_its_waiter[await-1]`` ... ``[yield-4]``. The `await` variant
is the module as it stands. The `yield` variant is a second module, made from the same source when
it is first needed:

====================================  ===================================================
in the source                         in the `yield` variant
====================================  ===================================================
``import tonio.colored as tonio``     ``import tonio`` (and the submodules likewise)
``async def f():``                    ``def f():``, a generator even if nothing is awaited
``await x``                           ``yield x``
``await tonio.yield_now()``           a bare ``yield``
``async with lock() as l: ...``       ``with (yield lock()) as l: ...``
``async with tonio.scope() as s:``    ``with tonio.scope() as s: ...``, then ``yield s()``
``async for x in xs: ...``            ``for op in xs:``, ``x = yield op``, ``...``; an operation
                                      that raises `EndOfChannel` only ends the loop
====================================  ===================================================

That holds for the whole module, helpers and nested functions included. What has no counterpart
stays as it is: async generators, ``async def`` with special names (``__aenter__``), tests for the
`await` notation only, and what is marked by `as_written`, the means of a test that mixes the
notations (``tonio`` is the variant's there, too, so it has no ``yield_now``). What cannot be
expressed (``await`` in a comprehension, ``return`` out of a scope's block) is a SyntaxError.

Line numbers stay, so a traceback of either variant points into the source.
"""

import ast
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from _pytest.assertion.rewrite import rewrite_asserts

NOTATIONS = ("await", "yield")
# The sanitizers, which take their time, run the tests on 4 only (scripts/test_python.sh).
THREADS = tuple(map(int, os.environ.get("TONIO_TEST_THREADS", "1 2 4").split()))

_config: pytest.Config | None = None
_yield_modules: dict[str, ModuleType] = {}


def configure(config: pytest.Config) -> None:
    """Tells how assertions are to be rewritten; called once, by conftest.py."""
    global _config
    _config = config


def as_written[F: Callable[..., Any]](function: F) -> F:
    """Marks a function that both variants take as it is written."""
    return function


def both(
    function: Callable[..., Any] | None = None,
    /,
    *,
    threads: Sequence[int] = THREADS,
    notations: Sequence[str] = NOTATIONS,
    **options: Any,
) -> Any:
    """Makes a test run in both notations and on several numbers of threads.

    The body of an ``async def`` test is run by `tonio.run`, with ``options``. A plain ``def`` test
    is called as it is, its inner functions being in either notation: it runs `tonio.run` itself.
    Both kinds may take the fixtures they like, and ``threads`` and ``notation``.
    """
    if function is None:
        return functools.partial(both, threads=threads, notations=notations, **options)

    @functools.wraps(function)
    def test(notation: str, threads: int, **arguments: Any) -> None:
        body = _body(function, notation)
        given = {"notation": notation, "threads": threads, **arguments}
        outcome = body(**{name: given[name] for name in inspect.signature(body).parameters})
        if inspect.iscoroutinefunction(function):
            import tonio

            outcome = tonio.run(outcome, threads=threads, **options)
        assert outcome is None, "a test that returns something forgot to assert it"

    signature = inspect.signature(function)
    names = dict.fromkeys([*signature.parameters, "notation", "threads"])
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    test.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    test.body = function  # type: ignore[attr-defined]
    variants = [(notation, count) for notation in notations for count in threads]
    ids = [f"{notation}-{count}" for notation, count in variants]
    return pytest.mark.parametrize(("notation", "threads"), variants, ids=ids)(test)


def _body(function: Callable[..., Any], notation: str) -> Callable[..., Any]:
    if notation == "await":
        return function
    module = _yield_modules.get(function.__module__)
    if module is None:
        module = _yield_modules[function.__module__] = _make_yield_module(function.__module__)
    body: Callable[..., Any] = vars(module)[function.__name__].body
    return body


def _make_yield_module(name: str) -> ModuleType:
    path = sys.modules[name].__file__
    assert path is not None
    source = Path(path).read_bytes()
    tree = to_yield(ast.parse(source, path))
    rewrite_asserts(tree, source, path, _config)
    module = ModuleType(f"{name}[yield]")
    module.__file__ = path
    sys.modules[module.__name__] = module
    exec(compile(tree, path, "exec"), vars(module))
    return module


def translate(source: str, notation: str) -> str:
    """The text of a program, written with ``await``, in ``notation``."""
    return source if notation == "await" else ast.unparse(to_yield(ast.parse(source)))


def to_yield(tree: ast.Module) -> ast.Module:
    """Turns what is written with ``await`` into what means the same with ``yield``."""
    _ToYield().visit(tree)
    return ast.fix_missing_locations(tree)


class _ToYield(ast.NodeTransformer):
    def __init__(self) -> None:
        self.unnamed = 0

    # --- functions

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        if _is_as_written(node) or node.name.startswith("__") or _yields(node.body):
            return node
        self.generic_visit(node)
        if not _yields(node.body):
            never = ast.If(ast.Constant(False), [ast.Expr(ast.Yield())], [])
            where = 1 if ast.get_docstring(node) is not None else 0
            node.body.insert(where, _place(never, node.body[-1]))
        function = ast.FunctionDef(**{field: getattr(node, field) for field in node._fields})
        return ast.copy_location(function, node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node if _is_as_written(node) else self.generic_visit(node)

    # --- waiting

    def visit_Await(self, node: ast.Await) -> ast.AST:
        value = self.visit(node.value)
        if isinstance(value, ast.Call) and _last_name(value.func) == "yield_now":
            return ast.copy_location(ast.Yield(), node)
        return ast.copy_location(ast.Yield(value), node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> Any:
        scopes = []
        for item in node.items:
            call = item.context_expr
            if not isinstance(call, ast.Call):
                raise _cannot("async with on something that is not a call", node)
            if _last_name(call.func) == "scope":
                if _leaves(node.body):
                    raise _cannot("return, break or continue out of a scope", node)
                if item.optional_vars is None:
                    self.unnamed += 1
                    item.optional_vars = _place(
                        ast.Name(f"_scope_{self.unnamed}", ast.Store()), call
                    )
                if not isinstance(item.optional_vars, ast.Name):
                    raise _cannot("a scope that is not given a plain name", node)
                scopes.append(item.optional_vars.id)
        self.generic_visit(node)
        for item in node.items:
            call = item.context_expr
            if not (isinstance(call, ast.Call) and _last_name(call.func) == "scope"):
                item.context_expr = _place(ast.Yield(call), call)
        block = ast.copy_location(ast.With(node.items, node.body, node.type_comment), node)
        collected = [
            _place(ast.Expr(ast.Yield(ast.Call(ast.Name(name, ast.Load()), [], []))), node)
            for name in reversed(scopes)
        ]
        return [block, *collected]

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        self.generic_visit(node)
        self.unnamed += 1
        name = f"_operation_{self.unnamed}"
        value = _place(ast.Yield(ast.Name(name, ast.Load())), node.iter)
        assign = _place(ast.Assign([node.target], value), node.target)
        # Who iterates a channel learns of its end by this; the iterator, asked again, stops.
        end = ast.Attribute(
            ast.Attribute(
                ast.Call(ast.Name("__import__", ast.Load()), [ast.Constant("tonio")], []),
                "exceptions",
                ast.Load(),
            ),
            "EndOfChannel",
            ast.Load(),
        )
        handler = ast.ExceptHandler(end, None, [ast.Continue()])
        attempt = _place(ast.Try([assign], [handler], [], []), node.target)
        target = _place(ast.Name(name, ast.Store()), node.target)
        loop = ast.For(target, node.iter, [attempt, *node.body], node.orelse, node.type_comment)
        return ast.copy_location(loop, node)

    # --- imports

    def visit_Import(self, node: ast.Import) -> ast.AST:
        for alias in node.names:
            if alias.asname is not None:
                alias.name = _plain(alias.name)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        if node.module is not None:
            node.module = _plain(node.module)
            if node.module == "tonio":
                node.names = [alias for alias in node.names if alias.name != "yield_now"]
        return node if node.names else None


def _place[N: ast.AST](node: N, where: ast.AST) -> N:
    """Gives a new node, and the new ones in it, the location of an old one."""
    for child in ast.walk(node):
        if "lineno" in child._attributes and not hasattr(child, "lineno"):
            ast.copy_location(child, where)
    return node


def _plain(module: str) -> str:
    return "tonio" + module.removeprefix("tonio.colored") if _is_colored(module) else module


def _is_colored(module: str) -> bool:
    return module == "tonio.colored" or module.startswith("tonio.colored.")


def _last_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _is_as_written(node: ast.AsyncFunctionDef | ast.FunctionDef) -> bool:
    for decorator in node.decorator_list:
        if _last_name(decorator) == "as_written":
            return True
        if isinstance(decorator, ast.Call) and _last_name(decorator.func) == "both":
            for keyword in decorator.keywords:
                if keyword.arg == "notations" and "yield" not in ast.literal_eval(keyword.value):
                    return True
    return False


def _own(nodes: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """The nodes below these, functions and classes inside them left out."""
    for node in nodes:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _own(list(ast.iter_child_nodes(node)))


def _yields(body: Sequence[ast.AST]) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own(body))


def _leaves(body: Sequence[ast.AST]) -> bool:
    """Does the block end by something other than its end or an exception?"""
    loops = [node for node in _own(body) if isinstance(node, ast.For | ast.AsyncFor | ast.While)]
    inner = {id(node) for loop in loops for node in _own(loop.body)}
    return any(
        isinstance(node, ast.Return)
        or (isinstance(node, ast.Break | ast.Continue) and id(node) not in inner)
        for node in _own(body)
    )


def _cannot(what: str, node: ast.stmt) -> SyntaxError:
    return SyntaxError(f"line {node.lineno}: the yield notation has no counterpart for {what}")
