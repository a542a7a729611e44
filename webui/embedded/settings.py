"""What a change of options does: Forge's way, and AUTOMATIC1111's.

Forge only notes which checkpoint is wanted, once all keys of a request have been applied; the next job
loads it. So a request that fails on a later key leaves `options` naming a model that nothing will load.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from webui.embedded.checkpoints import Checkpoints, Loader
from webui.embedded.options import Options


class Settings:
    """`forge=False`: AUTOMATIC1111's way (known from its source, not recorded)."""

    def __init__(
        self, options: Options, checkpoints: Checkpoints, loader: Loader, modules: Path, *, forge: bool
    ) -> None:
        self.options = options
        self.checkpoints = checkpoints
        self.loader = loader
        self.modules_folder = modules
        self.forge = forge
        self.want_selected()

    def modules(self) -> dict[str, Path]:
        """VAE and text encoder files by name."""
        return {path.name: path for path in sorted(self.modules_folder.glob("*.safetensors"))}

    def want_selected(self) -> None:
        """Tell the loader what the options name now; the first checkpoint if they name none."""
        wanted = self.checkpoints.closest(self.options.sd_model_checkpoint)
        wanted = wanted or next(iter(self.checkpoints), None)
        modules = self.options.forge_additional_modules if self.forge else []
        self.loader.select(wanted, tuple(modules or ()))

    def set_config(self, changes: dict[str, Any], *, save: bool = True) -> None:
        """Apply changes key by key; those before a bad one stay applied.

        Raises RuntimeError for an unknown checkpoint, KeyError for an unknown option. Values of a wrong
        type are taken.
        """
        if not self.forge:
            self._refuse_unknown(changes.get("sd_model_checkpoint"))
        wants_another = False
        for name, value in changes.items():
            if name == "sd_model_checkpoint":
                self._refuse_unknown(value)
                wants_another |= self._change_checkpoint(value)
            elif name == "forge_additional_modules" and self.forge:
                known = self.modules()
                chosen = [Path(module).name for module in value or [] if Path(module).name in known]
                wants_another |= self.options.set(name, chosen)
            else:
                self.options.set(name, value)
        if wants_another:
            self.want_selected()
        if save:
            self.options.save()

    def _refuse_unknown(self, checkpoint: Any) -> None:
        if checkpoint is not None and self.checkpoints.get(checkpoint) is None:
            raise RuntimeError(f"model {checkpoint!r} not found")

    def _change_checkpoint(self, name: str | None) -> bool:
        """False if the name stands for the checkpoint that is selected already: nothing is set then."""
        if self.checkpoints.closest(name) is self.checkpoints.closest(self.options.sd_model_checkpoint):
            return False
        return self.options.set("sd_model_checkpoint", name)

    @contextmanager
    def overridden(self, overrides: dict[str, Any], *, restore: bool) -> Iterator[None]:
        """A job's own options. Keys that were never set before are not restored (as recorded)."""
        before = {name: self.options.data[name] for name in overrides if name in self.options.data}
        try:
            if self.forge and self.checkpoints.get(overrides.get("sd_model_checkpoint")) is None:
                overrides.pop("sd_model_checkpoint", None)
            self.set_config(overrides, save=False)
            yield
        finally:
            if restore:
                self.set_config(before, save=False)
