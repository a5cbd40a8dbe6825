"""The repository's own laws. They begin without exceptions; an exception needs its reason here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, SKIP_REASONS

MAX_LINES = 400  # split by noun when longer

# Pure computation on values: none of these reads a clock, a file, a socket or the environment.
PURE_MODULES = {
    "__future__",
    "abc",
    "array",
    "bisect",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "enum",
    "functools",
    "heapq",
    "hashlib",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "mypy_extensions",  # decorators that say how mypyc may compile, and do nothing
    "operator",
    "re",
    "string",
    "struct",
    "types",
    "typing",
    "zlib",
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}

# Where a blind except is part of the design: the engine always answers, the gate's loop goes on, and what
# gets out of a pin's callback would end all later ones silently.
BLIND_EXCEPT_ALLOWED = {"guard/core/engine.py", "guard/loop.py", "hardware/gpio.py"}

UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|NotImplemented" r"Error|place" r"holder|st" r"ub)\b")
ONE_MACHINE = re.compile(r"(?<![\w.-])/(wo" r"rk|ro" r"ot|ho" r"me/\w+)/")


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


CORE = sources("guard/core")
PRODUCT = sources("guard", "hardware")
TESTS = sources("tests")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").rglob("*.md")])


@pytest.mark.parametrize("path", CORE, ids=name)
def test_the_core_imports_only_itself_and_pure_computation(path: Path) -> None:
    foreign = {
        module
        for module in imported(parse(path))
        if module.partition(".")[0] not in PURE_MODULES and not f"{module}.".startswith("guard.core.")
    }
    assert not foreign


@pytest.mark.parametrize("path", CORE, ids=name)
def test_the_core_calls_nothing_that_reads_or_writes_the_world(path: Path) -> None:
    called = {
        node.func.id
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & IMPURE_CALLS


@pytest.mark.parametrize("path", [*PRODUCT, *TESTS], ids=name)
def test_a_module_is_one_noun_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", [*PRODUCT, *(path for path in TESTS if path.stat().st_size)], ids=name)
def test_a_module_opens_with_what_it_knows(path: Path) -> None:
    assert ast.get_docstring(parse(path))


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_a_blind_except_stands_only_in_the_outermost_frames(path: Path) -> None:
    swallowing = [
        node.lineno
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
    ]
    assert len(swallowing) <= (name(path) in BLIND_EXCEPT_ALLOWED), f"lines {swallowing}"


@pytest.mark.parametrize("path", [*PRODUCT, *TESTS], ids=name)
def test_nothing_is_left_unfinished_and_nothing_names_one_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not UNFINISHED.search(text)
    assert not ONE_MACHINE.search(text)


@pytest.mark.parametrize("path", [*PRODUCT, *TESTS], ids=name)
def test_pickle_is_nowhere(path: Path) -> None:
    tree = parse(path)
    assert not {"pickle", "cloudpickle", "dill"} & set(imported(tree))
    # joblib spreads work over processes in one place; its files, which are pickles, are none of ours
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "joblib"]
    assert "joblib" not in imported(tree) or (taken and name(path) == "guard/learning/parallel.py")
    names = {alias.name for node in taken for alias in node.names}
    assert names <= {"Parallel", "delayed", "parallel_config"}


@pytest.mark.parametrize("path", [*PRODUCT, *TESTS], ids=name)
def test_a_silenced_check_says_why(path: Path) -> None:
    bare = re.compile(r"#\s*(noqa(:\s*[A-Z0-9, ]+)?|type:\s*ignore(\[[^]]*\])?|pragma:[\w ]*)\s*$")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [line.strip() for line in lines if bare.search(line)]


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_tests_wait_for_a_condition_and_never_for_a_time(path: Path) -> None:
    tree = parse(path)
    # One place may pause between two looks at the kernel's state. Benchmarks measure real time.
    polling = [node for node in ast.walk(tree) if getattr(node, "name", "") == "wait_until"]
    excused = {id(inner) for node in polling for inner in ast.walk(node)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in excused]
    sleeping = [call.lineno for call in calls if ast.unparse(call.func) in {"time.sleep", "sleep"}]
    assert not sleeping or path.parent == ROOT / "tests" / "bench"


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_only_the_conftest_skips(path: Path) -> None:
    uses = {
        ast.unparse(node)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and node.attr in {"skip", "skipif", "importorskip", "xfail"}
    }
    assert not {use for use in uses if use.startswith("pytest.")} or path.name == "conftest.py"


@pytest.mark.parametrize("reason", SKIP_REASONS.values())
def test_the_readme_names_every_reason_to_skip(reason: str) -> None:
    assert reason in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", text)
    assert not [target for target in targets if not (path.parent / target).exists()]
    assert not ONE_MACHINE.search(text)


def test_the_changelog_has_the_version() -> None:
    from guard import __version__

    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_ruff_rule_that_is_ignored_has_its_reason_on_the_line() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    ignores = re.findall(r'^    "[A-Z]+[0-9]*",.*$', text.partition("\nignore = [")[2], flags=re.MULTILINE)
    assert len(ignores) > 5
    assert not [line for line in ignores if "  # " not in line and " # " not in line]
