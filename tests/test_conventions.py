"""House rules that a machine can hold: one test a rule, which names every place that breaks it."""

import ast
import functools
import graphlib
import importlib
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import critic_loop

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "critic_loop").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
DATA = sorted(p for folder in ("agents", "prompts") for p in (ROOT / folder).rglob("*") if p.is_file())


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def here(path):
    return path.relative_to(ROOT).as_posix()


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def offenders(broken, paths):
    """Return what breaks a rule, by file."""
    return {here(path): found for path in paths if (found := list(broken(path)))}


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


def test_every_public_name_is_what_its_type_says():
    typed = {
        name: getattr(importlib.import_module(module), original)
        for name, (module, original) in typed_names().items()
        if name != "search"  # the package, which can be called
    }
    assert [name for name, value in typed.items() if getattr(critic_loop, name) is not value] == []
    assert sorted(typed) == [name for name in critic_loop.__all__ if name != "search"]
    assert set(critic_loop.__all__) <= set(dir(critic_loop))


def test_there_are_no_other_names():
    with pytest.raises(AttributeError, match="module 'critic_loop' has no attribute 'Nothing'"):
        _ = critic_loop.Nothing


def test_the_release_has_one_number():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert critic_loop.__version__ == settings["project"]["version"]


SURFACE = [ROOT / "critic_loop/errors.py", *(path for path in PACKAGE if path.name == "__init__.py")]
HELPERS = {"lazy", "VERSION"}
"""What a package takes from `core` in order to offer its own names."""


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


def not_as_offered(path):
    """Yield names that a package offers twice, offers without having them, or has by accident."""
    module = importlib.import_module(module_of(path))
    named = {name for name in named_in(path) if not name.startswith("_")}
    offered = getattr(module, "__all__", [])  # ruff sorts them
    yield from (name for name in offered if offered.count(name) > 1 or not hasattr(module, name))
    yield from named - set(offered) - HELPERS


def test_a_package_offers_what_its_all_says_and_nothing_by_accident():
    assert offenders(not_as_offered, SURFACE) == {}


@pytest.mark.parametrize("name", ["Nothing", "annotations_", "_HOMES_"])
def test_a_package_that_loads_names_on_first_use_has_no_others(name):
    for package in ("critic_loop", "critic_loop.core", "critic_loop.store", "critic_loop.testing"):
        with pytest.raises(AttributeError, match=f"module '{package}' has no attribute '{name}'"):
            getattr(importlib.import_module(package), name)


def test_packages_that_offer_nothing_are_known():
    """What users need of these, `critic_loop` offers; all other packages say what they offer."""
    silent = {module_of(p) for p in SURFACE if not hasattr(importlib.import_module(module_of(p)), "__all__")}
    internal = {"cli.commands", "cli.documents", "graph", "nodes", "render", "roles", "serving"}
    internal |= {f"models.{name}" for name in ("client", "providers", "slots", "transport", "wire", "wrappers")}
    assert silent == {f"critic_loop.{name}" for name in internal}


# -- light imports ---------------------------------------------------------------------------------

HEAVY = {"langgraph", "langchain_core", "httpx", "aiohttp", "onnxruntime", "sqlite3", "numpy", "pyarrow"}
HEAVY_FOR_A_LOOP = {
    "langchain_core", "httpx", "aiohttp", "httpx_aiohttp", "genai_prices", "jinja2", "onnxruntime", "numpy",
    "pyarrow", "tenacity", "rich", "sqlite3",
}  # fmt: skip


@functools.cache
def loaded_by(statement):
    """Return the modules of a new Python that has run a statement."""
    code = f"import sys; {statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def packages(modules):
    return {name.partition(".")[0] for name in modules}


LIGHT = [
    "import critic_loop",
    "import critic_loop.core.tree",
    "import critic_loop.errors",
    "import critic_loop.core as core; [getattr(core, name) for name in core.__all__]",
    "import critic_loop as cl; cl.Tree, cl.Recipe, cl.verifier",
]


def test_imports_stay_light():
    """One Python runs them all: what is at fault is the first with something heavy beside it."""
    code = "import sys\n"
    for statement in LIGHT:
        code += f"{statement}\nprint(*sorted({HEAVY} & {{name.partition('.')[0] for name in sys.modules}}))\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = dict(zip(LIGHT, done.stdout.splitlines(), strict=True))
    assert heavy == dict.fromkeys(LIGHT, "")


def test_the_import_of_loop_stays_light():
    loaded = loaded_by("from critic_loop import Loop")
    assert "critic_loop.graph.loop" in loaded
    assert not (HEAVY | HEAVY_FOR_A_LOOP) & packages(loaded)
    searches = {f"critic_loop.search.{name}" for name in ("ab_mcts", "beam", "mcts", "prospect", "refine")}
    assert not loaded & {*searches, "critic_loop.models.vllm.server", "critic_loop.outputs.verdict"}


def test_the_import_of_loop_builds_no_validator():
    """Building those of all records takes longer than the rest of the import."""
    assert "pydantic.plugin._loader" not in loaded_by("from critic_loop import Loop")


def test_a_run_of_the_command_line_loads_only_what_it_uses():
    pytest.importorskip("onnxruntime", reason="the demo extra is not installed")
    command = ["critic-loop", "run", "Countdown 39: 2 3 4 10", "--recipe", "countdown", "--store", "memory"]
    command += ["--actor", "embedded:countdown"]
    run = f"import contextlib; from critic_loop.cli import main; sys.argv = {command}"
    loaded = loaded_by(f"{run}\nwith contextlib.suppress(SystemExit): main()\n")
    assert {"critic_loop.graph.loop", "critic_loop.demo.engine"} <= loaded
    unused = {
        "cli.documents.trees",
        "cli.documents.work",
        "cli.job_view",
        "render.svg",
        "export",
        "metrics",
        "models.transport.connections",
        "store.sqlite",
    }
    assert not {f"critic_loop.{name}" for name in unused} & loaded
    assert not {"genai_prices", "sqlite3"} & packages(loaded)


LAZY = [p for p in PACKAGE if p.name == "__init__.py" and "= lazy(" in p.read_text(encoding="utf-8")][1:]
"""Without the first, the facade, whose names are tested above."""


def not_as_typed(path):
    """Yield names that a package loads on first use and type checkers see elsewhere or not at all."""
    module = importlib.import_module(module_of(path))
    call = next(
        node
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy"
    )
    homes = ast.literal_eval(call.args[1])
    block = next(node for node in tree_of(path).body if isinstance(node, ast.If))
    typed = {
        node.module: sorted(alias.name for alias in node.names)
        for node in block.body
        if node.module.startswith(f"{module.__name__}.")
    }
    lazy = {f"{module.__name__}.{home}": sorted(names) for home, names in homes.items()}
    yield from (home for home in typed.keys() | lazy.keys() if typed.get(home) != lazy.get(home))
    for home, names in lazy.items():
        for name in names:
            if name not in module.__all__:
                yield f"{name} is not in __all__"
            if f"{module.__name__}.{name}" in MODULES:
                yield f"the module {name} takes the name's place"
            if getattr(module, name) is not getattr(importlib.import_module(home), name):
                yield f"{name} is not that of {home}"


def test_lazy_names_are_those_that_type_checkers_see():
    assert offenders(not_as_typed, LAZY) == {}


def test_a_lazy_package_has_no_other_names():
    for name in map(module_of, LAZY):
        with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'Nothing'"):
            _ = importlib.import_module(name).Nothing


# -- which module knows which ----------------------------------------------------------------------


MODULES = {module_of(path): path for path in PACKAGE}


def imported_by(name, tree):
    """Yield the modules that a module imports: at its top, within functions, and for type checkers alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                imported = submodule if submodule in MODULES else node.module
                if imported in MODULES and imported != name:
                    yield imported


def circle_in(imports):
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return None


def test_there_is_no_import_circle():
    """Lazy imports and those for type checkers count, too: what a module knows does not depend on when."""
    imports = {name: set(imported_by(name, tree_of(path))) for name, path in MODULES.items()}
    assert circle_in(imports) is None


def test_a_circle_is_found_wherever_an_import_stands():
    name, other = "critic_loop.core.tree", "critic_loop.core.value"
    back = f"def f():\n    from critic_loop.core import {other.rpartition('.')[2]}"
    assert set(imported_by(name, ast.parse(back))) == {other}
    assert circle_in({name: {other}, other: {name}}) == f"{name} -> {other} -> {name}"


@functools.cache
def levels():
    """Return how high each package stands by import-linter's contract."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = next(
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    return {
        package.strip(" ()"): height
        for height, layer in enumerate(reversed(layers))
        for package in layer.split("|")
    }


NAMED = re.compile(r"\bcritic_loop\.(\w+)|^critic_loop\.$")


def named_above(name, tree):
    """Yield the strings of a module that name a module of a higher level, or build such a name.

    What is in no layer (the facade's own modules, `demo`, `testing`) stands above all.
    """
    level_of, own = levels(), name.split(".")[1]
    documented = {id(node) for node in docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            for package in NAMED.findall(node.value):
                is_module = not package or f"critic_loop.{package}" in MODULES
                if is_module and level_of.get(package, len(level_of)) > level_of[own]:
                    yield node.value


def test_no_module_names_a_higher_one_in_a_string():
    """A name in a string is an import that no tool sees: lower modules find higher ones by entry points."""
    layered = [path for name, path in MODULES.items() if name.count(".") and name.split(".")[1] in levels()]
    assert offenders(lambda path: named_above(module_of(path), tree_of(path)), layered) == {}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("A = 'critic_loop.graph.loop:Loop'", ["critic_loop.graph.loop:Loop"]),
        ("A = 'python -m critic_loop.testing.server'", ["python -m critic_loop.testing.server"]),
        ("A = f'critic_loop.{name}'", ["critic_loop."]),
        ("'critic_loop.graph, in a docstring'; A = 'critic_loop.models.wire'; B = 'critic_loop.toml'", []),
    ],
)
def test_higher_modules_are_found_in_strings(code, found):
    assert list(named_above("critic_loop.models.providers.specs", ast.parse(code))) == found


# -- source ----------------------------------------------------------------------------------------


def asserted(path):
    return (node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert))


def test_the_package_asserts_nothing():
    """Asserts vanish under `-O`; only contract suites and fakes, which are tests, have them."""
    assert offenders(asserted, [path for path in PACKAGE if "testing" not in path.parts]) == {}


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


def long_texts(path):
    tree = tree_of(path)
    documented = {id(node) for node in docstrings(tree)}
    texts = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented)
    )
    return (node.lineno for node in texts if written(node) > 400 and not is_sql(node))


def test_no_prompt_lives_in_python():
    paths = [path for path in PACKAGE if not {"testing", "demo"} & set(path.parts)]
    assert offenders(long_texts, paths) == {}


MACHINE = re.compile(r"/(?:home|Users|root|work)/\w+|[A-Z]:\\\\\w+\\\\")


def test_no_path_of_somebodys_machine():
    paths = [*PACKAGE, *DATA, ROOT / "pyproject.toml"]
    assert offenders(lambda path: MACHINE.findall(path.read_text(encoding="utf-8")), paths) == {}


def test_agents_and_prompts_are_data():
    """`agents` is another project's import name: no Python lies there."""
    assert {p.suffix for p in DATA} == {".toml", ".md"}


def mocks(path):
    mentions = "mock" in path.read_text(encoding="utf-8")
    for node in ast.walk(tree_of(path)) if mentions else ():
        names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        if any(f"{module}{name}".startswith("unittest.mock") for name in names):
            yield node.lineno


def test_tests_use_fakes_not_mocks():
    assert offenders(mocks, TESTS) == {}


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
