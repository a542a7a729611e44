"""The rules of the house that no reader should have to check."""

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
ROOMS = {
    "webui": set(),
    "store": set(),
    "gpu": {"webui", "store"},
    "blocks": {"webui", "store"},
    "tasks": {"webui", "store", "gpu", "blocks"},
    "flows": {"webui", "store", "gpu", "blocks", "tasks"},
    "deployments": {"webui", "store", "gpu", "blocks", "tasks", "flows"},
    "services": {"webui", "store", "gpu", "blocks", "tasks", "flows", "deployments"},
    "worker": {"webui", "store", "gpu", "blocks", "tasks", "flows", "deployments", "services"},
    "cli": {"webui", "store", "gpu", "blocks", "tasks", "flows", "deployments", "services", "worker"},
}
OTHERS = {"bench", "tests", "gateway", "scripts"}
# Where Prefect has no public way; each with its reason at the place.
PRIVATE_ALLOWED: set[str] = set()


def modules(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        yield from sorted((PROJECT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names of everything that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    ours = {*ROOMS, *OTHERS}
    for path in modules(room):
        used = {name.partition(".")[0] for name in imports(path)} & ours - {room}
        assert used <= ROOMS[room], f"{path.relative_to(PROJECT)} imports {used - ROOMS[room]}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions and for type checking count too: a circle is one however late it is closed."""
    paths = {".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path for path in
             modules(*ROOMS)}  # fmt: skip
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
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            for one in node.names:
                found.add(inner if (inner := f"{base}.{one.name}") in known else base)
    return (found & known) - {name}


def test_the_webuis_protocol_and_the_gpu_know_no_prefect() -> None:
    assert len(list(modules("webui"))) > 10
    for path in modules("webui", "gpu", "store"):
        assert not [name for name in imports(path) if name.partition(".")[0] == "prefect"], path


def test_no_file_hides_a_package() -> None:
    """Prefect puts a flow's folder before the working directory on ``sys.path``."""
    packages = {*ROOMS, *OTHERS}
    for path in modules("flows", "tasks", "blocks"):
        if path.name != "__init__.py":
            assert path.stem not in packages, path
    for path in modules("flows"):
        if path.name != "__init__.py":
            assert path.stem not in sys.stdlib_module_names, path


def test_nothing_private_of_prefect_is_used() -> None:
    for path in modules(*ROOMS, "bench"):
        if str(path.relative_to(PROJECT)) in PRIVATE_ALLOWED:
            continue
        private = [
            name for name in imports(path)
            if name.startswith("prefect.") and any(part.startswith("_") for part in name.split("."))
        ]  # fmt: skip
        assert not private, f"{path.relative_to(PROJECT)} uses {private}"


# -- the pinned set ------------------------------------------------------------------------------------------


def pinned() -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in (PROJECT / "constraints.txt").read_text().splitlines())
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def wanted() -> list[Requirement]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    every = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    return [requirement for one in every if (requirement := Requirement(one)).name != "darkroom"]


def test_each_pin_is_exact_and_no_index_is_named() -> None:
    text = (PROJECT / "constraints.txt").read_text()
    for line in text.splitlines():
        assert re.fullmatch(r"(#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+)?", line.strip()), line
    assert "://" not in text
    assert "--" not in text


def test_the_pinned_set_resolves() -> None:
    """Without the network: every requirement of the project, and of whatever it brings, is pinned to a version that
    it admits. `make setup` on a clean machine is the test with the network."""
    pins, open_ones, seen = pinned(), [(one, "pyproject.toml") for one in wanted()], set()
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
    for requirement in wanted():
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
