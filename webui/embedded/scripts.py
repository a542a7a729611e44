"""Scripts that a request can name: how they are checked, and the registry of those that do something.

Every script that a recorded Forge lists can be named; always-on ones take their arguments and do nothing,
except for those that are registered with `register`. Selectable ones are listed and checked, none runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException

from webui.embedded.catalogue import DATA
from webui.embedded.processing import AlwaysOnScript


@dataclass(frozen=True)
class Script:
    name: str
    tabs: list[str]
    always_on: bool
    args: list[list[Any]]
    run: list[str] | None = None  # names of a selectable script's parameters
    args_img2img: list[list[Any]] | None = None  # where the two tabs differ

    def args_of(self, tab: str) -> list[list[Any]]:
        return self.args_img2img if tab == "img2img" and self.args_img2img else self.args


_SCRIPTS = {entry["name"]: Script(**entry) for entry in DATA["scripts"]}


def scripts_of(tab: str) -> list[Script]:
    """All scripts of "txt2img" or "img2img", in the order in which they are listed."""
    return [_SCRIPTS[name] for name in DATA["script_orders"][tab]]


def find_script(name: str, tab: str, *, selectable_only: bool = False) -> Script:
    """Raises HTTPException 422 if there is none; case does not count."""
    for script in scripts_of(tab):
        if script.name == name.lower() and not (selectable_only and script.always_on):
            return script
    raise HTTPException(422, f"Script '{name}' not found")


class Selected:
    """A selectable script that a request named."""

    def __init__(self, script: Script, args: list[Any]) -> None:
        self._names = script.run or []
        self._args = args
        self._title = script.name

    def run(self) -> None:
        """Raises as Python does for arguments that are missing, and NotImplementedError for all there."""
        missing = [repr(name) for name in self._names[len(self._args) :]]
        if missing:
            *most, last = missing
            listed = f"{', '.join(most)}{',' if len(most) > 1 else ''} and {last}" if most else last
            plural = "s" if most else ""
            count = len(missing)
            raise TypeError(f"Script.run() missing {count} required positional argument{plural}: {listed}")
        raise NotImplementedError(f"the embedded WebUI has no script {self._title!r}; use a real WebUI for it")


class Scripts:
    """The always-on scripts that do something, by lower-cased name."""

    def __init__(self) -> None:
        self._registered: dict[str, AlwaysOnScript] = {}

    def register(self, name: str, script: AlwaysOnScript) -> None:
        self._registered[name.lower()] = script

    def selected(self, name: str | None, args: list[Any], tab: str) -> Selected | None:
        if not name:
            return None
        return Selected(find_script(name, tab, selectable_only=True), args)

    def always_on(self, asked: dict[str, Any], tab: str) -> list[tuple[AlwaysOnScript, list[Any]]]:
        """The registered scripts with the arguments of this job.

        Raises HTTPException 422 for a script that the tab lacks, and for a selectable one.
        """
        args = {name: script.default_args() for name, script in self._registered.items()}
        for name in asked:
            script = find_script(name, tab)
            if not script.always_on:
                raise HTTPException(422, "Cannot have a selectable script in the always on scripts params")
            if "args" in asked[name] and script.name in args:
                given = asked[name]["args"][: len(args[script.name])]
                args[script.name][: len(given)] = given
            elif "args" in asked[name]:
                len(asked[name]["args"])  # the real one counts them: what has no length is an error
        return [(script, args[name]) for name, script in self._registered.items()]


def script_info() -> list[dict[str, Any]]:
    names = ("label", "value", "minimum", "maximum", "step", "choices")
    return [
        {
            "name": script.name,
            "is_alwayson": script.always_on,
            "is_img2img": tab == "img2img",
            "args": [dict(zip(names, arg, strict=True)) for arg in script.args_of(tab)],
        }
        for tab in ("txt2img", "img2img")
        for script in scripts_of(tab)
    ]
