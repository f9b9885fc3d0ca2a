"""Rules that no linter knows, read off the syntax trees. A failure names the file, the line and the rule."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(file for folder in ("apd", "flows") for file in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SCRIPTS = sorted((ROOT / "infra").rglob("*.py"))
TEXTS = sorted(
    file
    for folder in ("apd", "flows", "tests", "infra")
    for file in (ROOT / folder).rglob("*")
    if file.is_file() and "__pycache__" not in file.parts
)

LONGEST_FILE = 350
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "torch.save", "numpy.load", "np.load"}

Found = Iterator[tuple[int, str]]
"""Line numbers with what is wrong there."""


def name_of(node: ast.expr) -> str:
    """Return `a.b.c` for such an expression; empty for any other."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def unsafe_imports(tree: ast.Module) -> Found:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            if name.partition(".")[0] in UNSAFE_MODULES:
                yield node.lineno, f"imports {name}: what comes from storage is never unpickled"


def unsafe_calls(tree: ast.Module) -> Found:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node.func) in UNSAFE_CALLS and not refuses_pickle(node):
            yield node.lineno, f"calls {name_of(node.func)}"


def refuses_pickle(call: ast.Call) -> bool:
    """Whether a call of numpy.load says that it takes no pickle, which is the one form allowed."""
    options = {option.arg: option.value for option in call.keywords}
    refused = options.get("allow_pickle")
    return isinstance(refused, ast.Constant) and refused.value is False


def swallowed_exceptions(tree: ast.Module) -> Found:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and (node.type is None or name_of(node.type) == "BaseException"):
            yield node.lineno, "catches everything, interruptions too"
        elif isinstance(node, ast.ExceptHandler) and name_of(node.type) == "Exception" and does_nothing(node.body):
            yield node.lineno, "swallows every exception"


def does_nothing(body: list[ast.stmt]) -> bool:
    return all(isinstance(statement, ast.Pass | ast.Continue) or is_text(statement) for statement in body)


def is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def undocumented(tree: ast.Module) -> Found:
    if not ast.get_docstring(tree):
        yield 1, "the module has no docstring"
    for node in public_definitions(tree.body):
        if not ast.get_docstring(node):
            yield node.lineno, f"{node.name} has no docstring"


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public_definitions(body: list[ast.stmt]) -> Iterator[Definition]:
    """Public functions and classes, and a class's public methods; not those inside a function."""
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if not any(name_of(decorator) in ("overload", "override") for decorator in node.decorator_list):
            yield node
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node.body)


def exceptions_of_several_arguments(tree: ast.Module) -> Found:
    """An exception built from two arguments cannot be unpickled on the other side of a process boundary."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
            continue
        name = name_of(node.exc.func)
        if name in ERRORS and (len(node.exc.args) != 1 or node.exc.keywords):
            yield node.lineno, f"{name} takes one string"


def errors_with_constructors(tree: ast.Module) -> Found:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name in ERRORS and len(node.body) > 1:
            yield node.lineno, f"{node.name} is more than its docstring"


ERRORS = {
    node.name for node in ast.parse((ROOT / "apd" / "errors.py").read_text()).body if isinstance(node, ast.ClassDef)
}


def prints(tree: ast.Module) -> Found:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node.func) == "print":
            yield node.lineno, "prints; the library returns data and the flows show it"


def assertions_of_tuples(tree: ast.Module) -> Found:
    """`assert a, b` passes whatever b is; unless a is a truth value or b a text, `assert a == b` was meant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and node.msg is not None and not (is_truth(node.test) or is_message(node.msg)):
            yield node.lineno, "assert a, b where a == b may have been meant"
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Tuple):
            yield node.lineno, "asserts a tuple, which is always true"


PREDICATES = {
    *("all", "any", "isinstance", "issubclass", "callable", "hasattr"),
    *("allclose", "array_equal", "equal", "exists", "is_dir", "is_file", "startswith", "endswith", "fullmatch"),
}


def is_truth(node: ast.expr) -> bool:
    """Whether this expression is of a form that gives a bool."""
    if isinstance(node, ast.Call):
        return name_of(node.func).rpartition(".")[2] in PREDICATES
    negation = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return negation or isinstance(node, ast.Compare | ast.BoolOp)


def is_message(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def work_at_import(tree: ast.Module) -> Found:
    """A bare call at module level does something to the process when the module is imported.

    Joining one group of commands to another is declaration: Typer has no decorator for it.
    """
    for node in tree.body:
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and not name_of(call.func).endswith(".add_typer"):
            yield node.lineno, f"calls {name_of(call.func)} at import time"


RULES_FOR_SOURCES = [
    unsafe_imports,
    unsafe_calls,
    swallowed_exceptions,
    undocumented,
    exceptions_of_several_arguments,
    errors_with_constructors,
    assertions_of_tuples,
    work_at_import,
]


def violations(files: list[Path], rule: Callable[[ast.Module], Found]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{line}: {wrong}"
        for file in files
        for line, wrong in rule(ast.parse(file.read_text()))
    ]


@pytest.mark.parametrize("rule", RULES_FOR_SOURCES, ids=lambda rule: rule.__name__)
def test_sources(rule):
    assert violations(SOURCES, rule) == []


@pytest.mark.parametrize("rule", [swallowed_exceptions, assertions_of_tuples], ids=lambda rule: rule.__name__)
def test_tests(rule):
    assert violations(TESTS, rule) == []


def test_only_the_flows_print():
    assert violations([file for file in SOURCES if "apd" in file.relative_to(ROOT).parts[:1]], prints) == []


def test_no_two_test_files_share_a_name():
    """pytest imports them by their bare names."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted(name for name in set(names) if names.count(name) > 1)


def test_files_are_short_enough_to_be_read_at_once():
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in SOURCES + TESTS + SCRIPTS}
    assert {file: lines for file, lines in lengths.items() if lines > LONGEST_FILE} == {}


UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
MACHINES_OWN = re.compile(r"(?<![\w.:$~/-])/(?:home|root|Users|work|opt|mnt|workspace)/\w")


@pytest.mark.parametrize(
    "pattern",
    [pytest.param(UNFINISHED, id="nothing left for later"), pytest.param(MACHINES_OWN, id="no path of one machine")],
)
def test_texts_are_free_of(pattern):
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in TEXTS
        for number, line in enumerate(text_of(file).splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def text_of(file: Path) -> str:
    """Return a file's text; nothing for a binary one."""
    data = file.read_bytes()
    return "" if b"\0" in data else data.decode()


def test_the_top_level_is_as_the_readme_draws_it():
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith((".", "__")) and not ignored(path.name)}
    allowed = {"flows", "apd", "infra", "tests", "prefect.yaml", "pyproject.toml", "README.md", "Makefile", "LICENSE"}
    assert names - allowed == set()


def ignored(name: str) -> bool:
    return name in {"apd-demo", "apd.egg-info"}


# The rules themselves, each on a line that breaks it and on its nearest allowed neighbour.
EXAMPLES = [
    (unsafe_imports, "import pickle", "import json"),
    (unsafe_imports, "from cloudpickle import loads", "from json import loads"),
    (unsafe_calls, "torch.load(file)", "load_file(file)"),
    (unsafe_calls, "numpy.load(file)", "numpy.load(file, allow_pickle=False)"),
    (swallowed_exceptions, "try: f()\nexcept Exception: pass", "try: f()\nexcept OSError: pass"),
    (swallowed_exceptions, "try: f()\nexcept: g()", "try: f()\nexcept Exception as e: g(e)"),
    (undocumented, "'m'\ndef f(): return 1", "'m'\ndef f(): 'Return 1.'"),
    (undocumented, "'m'\nclass A:\n 'A.'\n def f(self): return 1", "'m'\nclass A:\n 'A.'\n def _f(self): return 1"),
    (exceptions_of_several_arguments, "raise StoreError('a', 1)", "raise StoreError(f'a {1}')"),
    (errors_with_constructors, "class StoreError(E):\n 'Doc.'\n code = 1", "class StoreError(E): 'Doc.'"),
    (prints, "print(1)", "console.print(1)"),
    (assertions_of_tuples, "assert a, b", "assert a, 'b'"),
    (assertions_of_tuples, "assert f(a), b", "assert torch.equal(a, b), name"),
    (assertions_of_tuples, "assert (a, b)", "assert (a == b)"),
    (work_at_import, "logging.basicConfig()", "log = logging.getLogger()"),
]


@pytest.mark.parametrize(("rule", "wrong", "right"), EXAMPLES)
@pytest.mark.filterwarnings("ignore:assertion is always true:SyntaxWarning")
def test_rules_tell_wrong_from_right(rule, wrong, right):
    assert list(rule(ast.parse(wrong)))
    assert not list(rule(ast.parse(right)))
