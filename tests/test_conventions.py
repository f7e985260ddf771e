"""House rules that a machine can hold."""

import ast
import importlib
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import critic_loop

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "critic_loop").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
DATA = sorted(p for folder in ("agents", "prompts") for p in (ROOT / folder).rglob("*") if p.is_file())


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def here(path):
    return path.relative_to(ROOT).as_posix()


# -- the public names ------------------------------------------------------------------------------


def typed_names(path=ROOT / "critic_loop/__init__.py"):
    body = next(
        node.body
        for node in tree_of(path).body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    return {alias.asname: (node.module, alias.name) for node in body for alias in node.names}


def test_all_is_what_type_checkers_see():
    assert critic_loop.__all__ == sorted(typed_names())


@pytest.mark.parametrize("name", critic_loop.__all__)
def test_every_public_name_is_what_its_type_says(name):
    module, original = typed_names()[name]
    assert getattr(critic_loop, name) is getattr(importlib.import_module(module), original) or name == "search"
    assert name in dir(critic_loop)


def test_there_are_no_other_names():
    with pytest.raises(AttributeError, match="module 'critic_loop' has no attribute 'Nothing'"):
        _ = critic_loop.Nothing


SURFACE = [ROOT / "critic_loop/errors.py", *(path for path in PACKAGE if path.name == "__init__.py")]
MOVING = {"critic_loop.tools"}
"""Still modules themselves; what they import can be imported from them, too."""


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def named_in(path):
    """What a module defines or takes from the package, whether it means to offer it or not."""
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("critic_loop"):
            yield from (alias.asname or alias.name for alias in node.names)


@pytest.mark.parametrize("path", SURFACE, ids=module_of)
def test_a_package_offers_what_its_all_says_and_nothing_by_accident(path):
    module = importlib.import_module(module_of(path))
    named = {name for name in named_in(path) if not name.startswith("_")}
    offered = getattr(module, "__all__", [])
    assert len(offered) == len(set(offered))  # ruff sorts them
    assert [name for name in offered if not hasattr(module, name)] == []
    assert module.__name__ in MOVING or named - set(offered) == set()


@pytest.mark.parametrize("name", ["Nothing", "annotations_", "_HOMES_"])
def test_a_package_that_loads_names_on_first_use_has_no_others(name):
    for package in ("critic_loop", "critic_loop.core", "critic_loop.store", "critic_loop.testing"):
        with pytest.raises(AttributeError, match=f"module '{package}' has no attribute '{name}'"):
            getattr(importlib.import_module(package), name)


def test_what_core_offers_is_what_its_type_checkers_see():
    core = importlib.import_module("critic_loop.core")
    assert core.__all__ == sorted(typed_names(ROOT / "critic_loop/core/__init__.py"))
    assert dir(core) == core.__all__


def test_packages_that_offer_nothing_are_known():
    """What users need of these, `critic_loop` offers; all other packages say what they offer."""
    silent = {module_of(p) for p in SURFACE if not hasattr(importlib.import_module(module_of(p)), "__all__")}
    assert silent == {"critic_loop.cli.commands", "critic_loop.graph", "critic_loop.nodes"}


# -- light imports ---------------------------------------------------------------------------------

HEAVY = {"langgraph", "langchain_core", "httpx", "aiohttp", "onnxruntime", "sqlite3", "numpy", "pyarrow"}


@pytest.mark.parametrize(
    "statement",
    [
        "import critic_loop",
        "import critic_loop.core.tree",
        "import critic_loop.errors",
        "import critic_loop.core as core; [getattr(core, name) for name in core.__all__]",
        "import critic_loop as cl; cl.Tree, cl.Recipe, cl.verifier",
    ],
)
def test_imports_stay_light(statement):
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "critic_loop" in done.stdout.split()
    assert not HEAVY & set(done.stdout.split())


# -- source ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [p for p in PACKAGE if "testing" not in p.parts], ids=here)
def test_the_package_asserts_nothing(path):
    """Asserts vanish under `-O`; only contract suites and fakes, which are tests, have them."""
    assert [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)] == []


def docstrings(tree):
    """Strings that stand alone: docstrings, and those under the fields that they document."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def written(node):
    """The characters of a string literal, holes of an f-string left out."""
    if isinstance(node, ast.JoinedStr):
        return sum(len(v.value) for v in node.values if isinstance(v, ast.Constant))
    return len(node.value)


def is_sql(node):
    return isinstance(node, ast.Constant) and node.value.lstrip().startswith("CREATE TABLE")


@pytest.mark.parametrize("path", [p for p in PACKAGE if not {"testing", "demo"} & set(p.parts)], ids=here)
def test_no_prompt_lives_in_python(path):
    tree = tree_of(path)
    documented = {id(node) for node in docstrings(tree)}
    texts = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented)
    )
    assert [node.lineno for node in texts if written(node) > 400 and not is_sql(node)] == []


MACHINE = re.compile(r"/(?:home|Users|root|work)/\w+|[A-Z]:\\\\\w+\\\\")


@pytest.mark.parametrize("path", [*PACKAGE, *DATA, ROOT / "pyproject.toml"], ids=here)
def test_no_path_of_somebodys_machine(path):
    assert MACHINE.findall(path.read_text(encoding="utf-8")) == []


def test_agents_and_prompts_are_data():
    """`agents` is another project's import name: no Python lies there."""
    assert {p.suffix for p in DATA} == {".toml", ".md"}


@pytest.mark.parametrize("path", TESTS, ids=here)
def test_tests_use_fakes_not_mocks(path):
    for node in ast.walk(tree_of(path)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        module = getattr(node, "module", "") if isinstance(node, ast.ImportFrom) else ""
        assert not any(f"{module}.{name}".strip(".").startswith("unittest.mock") for name in names), node.lineno
        assert not any(f"{module}.{name}" == "unittest.mock" for name in names), node.lineno


# -- the tests themselves --------------------------------------------------------------------------


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443), ("2001:db8::1", 80, 0, 0)])
def test_no_test_reaches_beyond_this_machine(address):
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as far:
        far.settimeout(0.01)
        with pytest.raises(PermissionError, match="only loopback is allowed"):
            far.connect(address)
        with pytest.raises(PermissionError, match="only loopback is allowed"):
            far.connect_ex(address)


def test_loopback_is_reached():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as near:
        near.connect(server.getsockname())


def test_no_key_is_in_the_environment():
    import os

    assert not [name for name in os.environ if re.search(r"API_KEY|_TOKEN$|_SECRET", name)]
    assert os.environ["HF_HUB_OFFLINE"] == "1"
