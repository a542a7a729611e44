"""The settings of the sampler, which stages hand on to the next one, and what makes a request independent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.form import LARGEST_SEED, Form, field
from webui.models import Checkpoint


class Sampling(Form):
    """What a picture is painted with."""

    prompt: str = field(..., "Prompt", "What to paint. Styles and <lora:name:1> are checked before the run.", 1)
    negative_prompt: str = field("", "Negative prompt", "What to keep out.", 2)
    styles: list[str] = field([], "Styles", "Names of the WebUI's saved prompt styles.", 3)
    steps: int = field(20, "Sampling steps", "1 to 150; 20 to 30 are usual.", 4, ge=1, le=150)
    sampler_name: str = field("Euler a", "Sampler", "As the WebUI lists it, such as DPM++ 2M.", 5)
    scheduler: str = field("Automatic", "Schedule type", "As the WebUI lists it, such as Karras.", 6)
    cfg_scale: float = field(7.0, "CFG scale", "How strictly to follow the prompt, 1 to 30.", 7, ge=1, le=30)
    seed: int = field(
        -1, "Seed", "−1 draws one, which is recorded. Picture i uses seed + i.", 10, ge=-1, le=LARGEST_SEED
    )
    clip_skip: int = field(1, "CLIP skip", "1 uses the last layer.", 11, ge=1, le=12)

    def changed_by(self, form: Form) -> Sampling:
        """These settings with those of ``form`` that are not empty (None)."""
        own = {name: getattr(form, name, None) for name in Sampling.model_fields}
        kept = {name: getattr(self, name) for name in Sampling.model_fields}
        return Sampling.model_validate(kept | {name: value for name, value in own.items() if value is not None})

    def payload(self) -> dict[str, Any]:
        """The API's fields. The seed is each request's own; CLIP skip is one of :func:`fixed_fields`."""
        return self.model_dump(include=set(Sampling.model_fields) - {"seed", "clip_skip"})


def fixed_fields(checkpoint: Checkpoint, vae: Sequence[str], clip_skip: int, *, forge: bool) -> dict[str, Any]:
    """The part of a payload that makes a request independent of whatever ran at the WebUI before it.

    Checkpoint, VAE and CLIP skip stay from one job to the next on a WebUI, so every request names them. They are not
    restored afterwards: a WebUI restores only the keys that its config.json has, and the others leak.

    Args:
        vae: the modules to load on Forge (VAE, text encoders); on AUTOMATIC1111 at most one VAE. Empty: the
            checkpoint's own.
    """
    modules = {"forge_additional_modules": list(vae)} if forge else {"sd_vae": vae[0] if vae else "Automatic"}
    return {
        "override_settings": {"sd_model_checkpoint": checkpoint.file, "CLIP_stop_at_last_layers": clip_skip, **modules},
        "override_settings_restore_afterwards": False,
        "n_iter": 1,  # every picture is safe as soon as it is painted
        "send_images": True,
        "save_images": False,
    }
