"""The functions of a batch's `tests:` modules: found, and refused where they could not do what they say, before
anything is written; run on the updated board.

They run within the device's item, not as items of their own, so that a failing one rolls its device back. What pytest
offers for items only (classes, parametrization, marks) is refused by name rather than ignored.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from drivers.base import BoardTestFailed
from harness.console import ConsoleTimeout
from harness.deadline import LimitReached
from harness.procedure import BoardTest

Function = Callable[..., object]


def load_board_tests(request: pytest.FixtureRequest, paths: Sequence[Path]) -> list[BoardTest]:
    """The modules' tests, in their order. Fails the item where one of them can not be run."""
    return [_as_board_test(request, path, function) for path in paths for function in _functions_of(request, path)]


def _as_board_test(request: pytest.FixtureRequest, path: Path, function: Function) -> BoardTest:
    return BoardTest(f"{path.stem}::{function.__name__}", lambda: _run(request, function))


def _functions_of(request: pytest.FixtureRequest, path: Path) -> list[Function]:
    named = {
        name: found for name, found in vars(_imported(request, path)).items() if name.startswith(("test_", "Test"))
    }
    functions: list[Function] = [function for function in named.values() if inspect.isfunction(function)]
    reasons = [f"{name}: {why}" for name, found in named.items() for why in _reasons_against(request, found)]
    if not functions:
        reasons.append("it has no function whose name begins with test_")
    if reasons:
        pytest.fail(f"{path.name}: {'; '.join(reasons)}", pytrace=False)
    return functions


def _imported(request: pytest.FixtureRequest, path: Path) -> Any:
    """The module, its asserts rewritten so that they say what they compared."""
    pytest.register_assert_rewrite(path.stem)
    try:
        return pytest.Module.from_parent(request.session, path=path).obj
    except (pytest.Collector.CollectError, pytest.skip.Exception) as error:
        cause = error.__cause__ or error
        pytest.fail(f"{path.name} can not be imported: {type(cause).__name__}: {cause}", pytrace=False)


def _reasons_against(request: pytest.FixtureRequest, found: object) -> Iterator[str]:
    if inspect.isclass(found):
        yield "classes are not run here; write functions"
    if not inspect.isfunction(found):
        return
    if inspect.iscoroutinefunction(found) or inspect.isgeneratorfunction(found):
        yield "async functions and generators are not run here; write a plain function"
    for mark in getattr(found, "pytestmark", []):
        yield f"@pytest.mark.{mark.name} has no effect here; call pytest.skip() or loop in the function"
    for name in _arguments_of(found):
        if not _is_fixture(request, name):
            yield f"no fixture {name!r}; those of your own belong in a conftest.py"


def _arguments_of(function: Function) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty]


def _is_fixture(request: pytest.FixtureRequest, name: str) -> bool:
    # pytest has no public way to ask without setting the fixture up, which is to happen on the updated board.
    return name == "request" or bool(request.session._fixturemanager.getfixturedefs(name, request.node))


def _run(request: pytest.FixtureRequest, function: Function) -> str:
    try:
        function(**{name: request.getfixturevalue(name) for name in _arguments_of(function)})
    except pytest.skip.Exception as skipped:
        return str(skipped) or "no reason given"
    except LimitReached:
        raise
    except (AssertionError, ConsoleTimeout, pytest.fail.Exception) as error:
        raise BoardTestFailed(f"{function.__name__}: {error}") from error
    except BaseException as error:
        # A user's test may raise anything, SystemExit included; whatever it is, the board did not pass.
        raise BoardTestFailed(f"{function.__name__}: {type(error).__name__}: {error}") from error
    return ""
