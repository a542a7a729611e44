"""The rules of the project that no reader should have to check: size, imports, other people's code, what is pinned."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[1]
# From the lowest to the highest: a room may import those before it. Each has as many lines as it needs today; whoever
# needs more says here that it grows.
BUDGETS = {
    "webui": 905,  # without webui/embedded
    "store": 405,
    "hours": 315,
    "variations": 480,
    "catalog": 555,
    "gpu": 1260,
    "pictures": 400,
    "blocks": 405,
    "tasks": 1655,
    "flows": 1270,
    "deployments": 565,
    "services": 830,
    "backlog": 1505,
    "worker": 1970,
    "cli": 1395,
    "gateway": 3400,
}
ROOMS = list(BUDGETS)
MODULE_LINES = 300
BESIDE = {"bench", "tests", "scripts"}  # no room imports them
# The one module that may use what Prefect does not document.
INTERNALS = Path("worker/prefect_internals.py")


def modules(*rooms: str) -> Iterator[Path]:
    """The modules of rooms, relative to the project."""
    for room in rooms:
        yield from (path.relative_to(PROJECT) for path in sorted((PROJECT / room).rglob("*.py")))


def tree(path: Path) -> ast.Module:
    return ast.parse((PROJECT / path).read_text())


def imports(path: Path) -> set[str]:
    """Dotted names of everything that a module imports, wherever in it."""
    return set(imported_names(tree(path)).values())


def imported_names(module: ast.Module) -> dict[str, str]:
    """What a module imports absolutely: the name that it has there, and its dotted name at home."""
    found: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {one.asname or one.name.partition(".")[0]: one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return found


# -- size ----------------------------------------------------------------------------------------------------


def lines(path: Path) -> int:
    return len((PROJECT / path).read_text().splitlines())


def without_embedded(room: str) -> list[Path]:
    return [path for path in modules(room) if path.parts[:2] != ("webui", "embedded")]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_no_more_lines_than_its_budget(room: str) -> None:
    found = sum(lines(path) for path in without_embedded(room))
    assert 0 < found <= BUDGETS[room], f"{room}/ has {found} lines"


def test_a_module_is_short_enough_to_be_read_at_once() -> None:
    long = {str(path): count for path in map(Path, product()) if (count := lines(path)) > MODULE_LINES}
    assert not long


def product() -> list[Path]:
    return [path for room in ROOMS for path in without_embedded(room)]


def test_the_extension_for_the_webui_is_small_and_needs_nothing_of_ours() -> None:
    paths = [path.relative_to(PROJECT) for path in (PROJECT / "extension").rglob("*") if path.suffix in (".py", ".js")]
    assert 0 < sum(map(lines, paths)) <= 250
    for path in paths:
        assert not {name.partition(".")[0] for name in imports(path)} & ({*ROOMS} | BESIDE), path


# -- imports -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down_only(room: str) -> None:
    allowed = {} if room == "store" else set(ROOMS[: ROOMS.index(room)])  # neither of the lowest two knows the other
    if room in ("hours", "variations"):
        allowed = {"store"}  # functions of times, and from a job's JSON to that of many jobs: without a WebUI
    if room == "catalog":
        allowed = {"store", "webui"}
    for path in modules(room):
        used = {name.partition(".")[0] for name in imports(path)} & ({*ROOMS} | BESIDE) - {room}
        assert used <= {*allowed}, f"{path} imports {used - {*allowed}}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions and for type checking count too: a circle is one however late it is closed."""
    paths = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in modules(*ROOMS)}
    used = {name: _modules_used(name, path, set(paths)) for name, path in paths.items()}
    while leaves := [name for name, others in used.items() if not others & used.keys()]:
        for name in leaves:  # nothing that it imports is left, so it is in no circle
            del used[name]
    assert not used, "in a circle, or importing one: " + ", ".join(
        f"{name} -> {sorted(others & used.keys())}" for name, others in used.items()
    )


def _modules_used(name: str, path: Path, known: set[str]) -> set[str]:
    """The product's modules that a module imports, absolute or relative."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            for one in node.names:
                found.add(inner if (inner := f"{base}.{one.name}") in known else base)
    return (found & known) - {name}


@pytest.mark.parametrize("room", ["webui", "store", "hours", "variations", "catalog", "gpu", "pictures"])
def test_the_lowest_rooms_know_no_prefect(room: str) -> None:
    for path in modules(room):
        assert not [name for name in imports(path) if name.partition(".")[0] == "prefect"], path


def test_blocks_and_gpu_do_not_know_each_other() -> None:
    for path in modules("blocks"):
        assert not [name for name in imports(path) if name.partition(".")[0] == "gpu"], path


def test_no_file_hides_a_package() -> None:
    """Prefect puts a flow's folder before the working directory on ``sys.path``."""
    for path in modules("flows", "tasks", "blocks"):
        if path.name != "__init__.py":
            assert path.stem not in {*ROOMS} | BESIDE, path
    for path in modules("flows"):
        if path.name != "__init__.py":
            assert path.stem not in sys.stdlib_module_names, path


# -- other people's code -------------------------------------------------------------------------------------


def root(node: ast.expr) -> str | None:
    """The name that a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def changed_from_outside(module: ast.Module) -> list[str]:
    """Assignments, deletions and ``setattr`` onto something imported that is not ours. ``sys`` is made to be assigned
    to: ``sys.argv``, ``sys.path``.
    """
    names = {name for name, home in imported_names(module).items() if home.partition(".")[0] not in {*ROOMS, "sys"}}
    found = []
    for node in ast.walk(module):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr"):
            found += [f"line {node.lineno}: {ast.unparse(node)}"] if root(node.args[0]) in names else []
        flat = [one for target in targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
        found += [
            f"line {target.lineno}: {ast.unparse(target)} ="
            for target in flat
            if isinstance(target, ast.Attribute) and root(target) in names
        ]
    return found


@pytest.mark.parametrize("path", [*modules(*ROOMS, "bench")], ids=str)
def test_nothing_is_assigned_onto_what_is_imported(path: Path) -> None:
    assert not changed_from_outside(tree(path))


def private_of_prefect(module: ast.Module) -> list[str]:
    """What a module uses of Prefect that Prefect does not document, as far as can be seen in its text: underscored
    modules and names, underscored attributes of what comes from Prefect, the environment of its processes.
    """
    from_prefect = {name for name, home in imported_names(module).items() if home.partition(".")[0] == "prefect"}
    found = [
        home
        for home in imported_names(module).values()
        if home.startswith("prefect.") and any(part.startswith("_") for part in home.split("."))
    ]
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            if root(node.value) in from_prefect:
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"PREFECT__\w", node.value):
            found.append(f"line {node.lineno}: {node.value[:60]!r}")
        elif isinstance(node, ast.ClassDef) and any(root(base) in from_prefect for base in node.bases):
            found += [f"line {node.lineno}: {node.name} {one}" for one in privately_inherited(node)]
    return found


def privately_inherited(node: ast.ClassDef) -> list[str]:
    """Underscored attributes of ``self`` and ``super()`` that a class uses and does not have itself. Those that begin
    with ``_block`` or ``_logo`` and the like are how a Prefect block says what it is: documented.
    """
    own = {one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    own |= {root(target) or "" for one in ast.walk(node) for target in getattr(one, "targets", [])}
    used = set()
    for one in ast.walk(node):
        if isinstance(one, ast.AnnAssign):
            own.add(ast.unparse(one.target).removeprefix("self."))
        elif isinstance(one, ast.Attribute) and re.match(r"_(?!_)", one.attr):
            if isinstance(one.ctx, ast.Store) and root(one.value) == "self":
                own.add(one.attr)
            elif ast.unparse(one.value) in ("self", "super()"):
                used.add(one.attr)
    return sorted(used - own)


@pytest.mark.parametrize("path", [path for path in modules(*ROOMS, "bench") if path != INTERNALS], ids=str)
def test_nothing_private_of_prefect_is_used(path: Path) -> None:
    assert not private_of_prefect(tree(path))


@pytest.mark.parametrize(
    ("text", "finds"),
    [
        ("import prefect\nprefect.flow = None", "prefect.flow ="),
        ("from prefect import flow as f\nf.x, y = 1, 2", "f.x ="),
        ("from rich.x import Thing\nsetattr(Thing, 'a', 1)", "setattr"),
        ("import os\ndel os.environ.x", "os.environ.x ="),
        ("from prefect._internal import x", "prefect._internal.x"),
        ("from prefect import flow\nflow._hidden()", "flow._hidden"),
        ("import os\nos.environ['PREFECT__FLOW_RUN_ID']", "PREFECT__FLOW_RUN_ID"),
        ("from prefect.x import Worker\nclass W(Worker):\n    def go(self): return self._client", "W _client"),
        ("from prefect.x import Worker\nclass W(Worker):\n    def __init__(self): self._mine = 1; self._mine", None),
        ("import os\nos.environ['PREFECT_API_URL'] = ''\nself.a = 1", None),
        ("import sys\nfrom worker.x import Ours\nsys.argv, Ours.a = [], 1", None),
    ],
)
def test_the_checks_find_what_they_look_for(text: str, finds: str | None) -> None:
    module = ast.parse(text)
    found = changed_from_outside(module) + private_of_prefect(module)
    assert any(finds in one for one in found) if finds else not found


SUPPRESSION = re.compile(r"# (noqa(: [A-Z0-9, ]+)?|type: ignore(\[[a-z, -]+\])?|pragma: \w+( \w+)?)(?P<rest>.*)")


def test_each_suppression_has_its_reason() -> None:
    bare = []
    for path in modules(*ROOMS, "bench", "tests"):
        for number, line in enumerate((PROJECT / path).read_text().splitlines(), start=1):
            found = SUPPRESSION.search(line)
            if found and "re.compile" not in line and not re.search(r"\w{2,}", found["rest"]):
                bare.append(f"{path}:{number}: {line.strip()}")
    assert not bare, "\n".join(bare)


# -- dependencies --------------------------------------------------------------------------------------------


def pinned() -> dict[str, str]:
    text = (PROJECT / "constraints.txt").read_text()
    pins = (line.split("#")[0].strip().partition("==") for line in text.splitlines())
    return {canonicalize_name(name): version for name, _, version in pins if name}


def declared(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, without the project itself."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    every = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    return [requirement for one in every if (requirement := Requirement(one)).name != "darkroom"]


def test_everything_that_is_imported_is_declared() -> None:
    distributions = metadata.packages_distributions()
    for path in modules(*ROOMS):
        extras = ["embedded"] if path.parts[:2] == ("webui", "embedded") else []
        asked_for = {canonicalize_name(one.name) for one in declared(*extras)}
        for name in {name.partition(".")[0] for name in imports(path)} - {*ROOMS, *sys.stdlib_module_names}:
            homes = {canonicalize_name(one) for one in distributions.get(name, [])}
            assert homes & asked_for, f"{path} imports {name}, which pyproject.toml does not name"


def test_each_pin_is_exact_and_no_index_is_named() -> None:
    text = (PROJECT / "constraints.txt").read_text()
    for line in text.splitlines():
        assert re.fullmatch(r"(#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+)?", line.strip()), line
    assert "://" not in text
    assert "--" not in text


def test_the_pinned_set_resolves() -> None:
    """Without the network: every requirement of the project, and of whatever it brings, is pinned to a version that
    it admits. `make setup` on a clean machine is the test with the network."""
    pins, open_ones, seen = pinned(), [(one, "pyproject.toml") for one in declared("embedded", "dev")], set()
    while open_ones:
        requirement, asker = open_ones.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in {"", *requirement.extras}
        ):
            continue
        assert name in pins, f"{asker} wants {requirement}, which constraints.txt does not pin"
        assert requirement.specifier.contains(pins[name], prereleases=True), (
            f"{asker} wants {requirement}: {pins[name]}"
        )
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for further in metadata.requires(name) or []:
                one = Requirement(further)
                if one.marker is None or one.marker.evaluate({"extra": extra}):
                    one.marker = None
                    open_ones.append((one, name))
    assert len(seen) > 50


def test_what_is_installed_is_what_is_pinned() -> None:
    for requirement in declared("embedded", "dev"):
        name = canonicalize_name(requirement.name)
        assert metadata.version(name) == pinned()[name], name


# -- commands ------------------------------------------------------------------------------------------------


def test_the_makefile_has_its_targets_and_each_prepares_the_environment() -> None:
    text = (PROJECT / "Makefile").read_text()
    targets = dict(re.findall(r"^([a-z-]+):([^#\n]*)", text, flags=re.MULTILINE))
    assert set(targets) >= {"help", "setup", "run", "up", "check", "test", "lint", "bench"}
    for name in ("run", "up", "check", "test", "lint", "bench"):
        assert "setup" in targets[name].split(), name
    assert "lint" in targets["test"].split()
    assert "make test" in (PROJECT / ".ci" / "run").read_text()


def test_pre_commit_runs_from_the_projects_own_environment() -> None:
    import yaml

    (repository,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")
    assert {hook["id"] for hook in repository["hooks"]} == {"ruff", "ruff-format", "mypy"}


# -- docs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{page.name}" for page in sorted((PROJECT / "docs").glob("*.md")))]
)
def test_the_tests_that_a_page_names_are_there(page: str) -> None:
    text = (PROJECT / page).read_text()
    for path in re.findall(r"`(tests/[\w./]*)`", text):
        assert (PROJECT / path).exists(), path
    if named := set(re.findall(r"`(test_\w+)`", text)):
        functions = (node for path in modules("tests") for node in ast.walk(tree(path)))
        assert named <= {node.name for node in functions if isinstance(node, ast.FunctionDef)}
