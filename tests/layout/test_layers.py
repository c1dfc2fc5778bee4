"""The layout: who may import whom and what an import may load."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("lambo_env", "lambo_agents", "baselines", "benchmarks")
OPEN_TO_BASELINES = {
    "lambo_agents.protocol",
    "lambo_agents.registry",
    "lambo_agents.adapter",
    "lambo_agents.weights_io",
    "lambo_agents.testing.agent_checks",
    "lambo_agents.testing.validation",
}

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for floor in FLOORS
    for path in sorted((ROOT / floor).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def is_package(name: str) -> bool:
    return FILES[name].name == "__init__.py"


def targets(node: ast.AST, name: str) -> list[str]:
    """Dotted names that one import statement of module `name` asks for."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parts = name.split(".") if is_package(name) else name.split(".")[:-1]
    parents = parts[: len(parts) - node.level + 1] if node.level else []
    base = ".".join([*parents, *([node.module] if node.module else [])])
    return [f"{base}.{alias.name}" for alias in node.names]


def statements(node: ast.AST, lazy: bool) -> Iterator[ast.AST]:
    """Nodes that run on import; with `lazy` those inside functions too.

    Type-checking blocks never run.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if lazy or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from statements(child, lazy)


def imports(name: str, lazy: bool = True) -> set[str]:
    return {target for node in statements(TREES[name], lazy) for target in targets(node, name)}


def in_tree(target: str) -> str:
    """The module of this repository behind a dotted name, or an empty string."""
    while target and target not in FILES:
        target = target.rpartition(".")[0]
    return target


def edges(lazy: bool = True) -> Iterator[tuple[str, str]]:
    for name in FILES:
        for target in sorted({in_tree(target) for target in imports(name, lazy)} - {"", name}):
            yield name, target


def test_the_walk_sees_the_imports():
    assert ("lambo_env.offloading.slots", "lambo_env.offloading.scenario") in set(edges())
    assert "numpy" in imports("lambo_env.offloading.slots", lazy=False)


def test_floors_import_downwards_only():
    floor = {name: FLOORS.index(name.partition(".")[0]) for name in FILES}
    assert [f"{name} -> {target}" for name, target in edges() if floor[target] > floor[name]] == []


def test_baselines_know_only_the_open_modules_of_lambo_agents():
    met = {
        target
        for name, target in edges()
        if name.startswith("baselines") and target.startswith("lambo_agents")
    }
    assert met <= OPEN_TO_BASELINES


BELOW = {
    "utils": set(),
    "registration": {"utils"},
    "cell": {"utils"},
    "prompts": {"utils"},
    "offloading": {"utils", "cell", "prompts", "registration"},
    "queueing": {"utils", "cell", "prompts", "registration"},
    "wpmec": {"utils", "cell", "prompts", "registration"},
    "datasets": {"utils", "cell", "offloading", "wpmec"},
    "rendering": {"utils", "prompts", "offloading", "registration"},
    "envs": {
        *("utils", "prompts", "registration", "offloading", "queueing", "wpmec", "datasets"),
        "rendering",
    },
    "testing": {"utils", "prompts", "registration", "offloading", "wpmec", "envs"},
}  # the rooms of lambo_env and what each may import; no world imports another


def test_rooms_of_lambo_env_import_downwards_only():
    rooms = {name: name.split(".")[1] for name in FILES if name.startswith("lambo_env.")}
    assert set(rooms.values()) == set(BELOW)
    met = [
        f"{name} -> {target}"
        for name, target in edges()
        if name in rooms and rooms.get(target, "") not in {rooms[name], *BELOW[rooms[name]]}
    ]
    assert met == []


def test_lambo_env_names_no_torch():
    met = [
        name
        for name in FILES
        if name.startswith("lambo_env")
        and any(target.split(".")[0] == "torch" for target in imports(name))
    ]
    assert met == []


def test_no_module_imports_a_package_init():
    assert [
        f"{name} -> {target}"
        for name, target in edges()
        if is_package(target) and not is_package(name)
    ] == []


def test_an_init_defines_no_function():
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    met = [
        name
        for name in FILES
        if is_package(name) and any(isinstance(n, kinds) for n in ast.walk(TREES[name]))
    ]
    assert met == []


def test_no_import_cycle():
    graph: dict[str, set[str]] = {name: set() for name in FILES}
    for name, target in edges(lazy=False):
        graph[name].add(target)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import lambo_env", {"torch", "scipy.stats", "matplotlib", "pandas", "pygame"}),
        ("import lambo_agents, baselines", {"torch", "matplotlib", "pandas"}),
        (
            "import lambo_agents.protocol, lambo_agents.registry, lambo_agents.adapter,"
            "lambo_agents.weights_io, lambo_agents.testing.agent_checks",
            {"torch", "safetensors"},
        ),
    ],
)
def test_imports_stay_light(statement: str, heavy: set[str]):
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert heavy & set(done.stdout.split()) == set()
