"""Everything behind the API of one embedded WebUI, put together."""

from __future__ import annotations

import datetime
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from webui import infotext
from webui.embedded.catalogue import Styles, write_default_styles
from webui.embedded.checkpoints import Checkpoint, Checkpoints, Loader, Model, write_checkpoint
from webui.embedded.job_queue import JobQueue, JobRecord
from webui.embedded.loras import Loras
from webui.embedded.options import Options
from webui.embedded.progress import Tasks
from webui.embedded.settings import Settings
from webui.embedded.state import State
from webui.embedded.steps import StepDriver

if TYPE_CHECKING:
    from webui.embedded.faults import Faults

DEFAULT_CHECKPOINTS = ("ink", "oil", "photo", "watercolour")  # the painter's own styles
DEFAULT_CHECKPOINT = "photo"


class Engine:
    """`folder` holds models/Stable-diffusion, models/VAE, models/Lora, styles.csv, config.json, outputs;
    what is missing there is made. See EmbeddedWebUI for the other arguments."""

    def __init__(
        self,
        folder: Path,
        *,
        step_time: float = 0.0,
        load_time: float = 0.0,
        job_log: Path | None = None,
        forge: bool = True,
        with_faults: bool = False,
    ) -> None:
        self.folder = folder
        self.checkpoints_folder = folder / "models" / "Stable-diffusion"
        self.modules_folder = folder / "models" / "VAE"
        self.lora_folder = folder / "models" / "Lora"
        self.loras = Loras(self.lora_folder)
        fresh = not self.checkpoints_folder.exists()
        for needed in (self.checkpoints_folder, self.modules_folder, self.lora_folder):
            needed.mkdir(parents=True, exist_ok=True)
        if fresh:
            for style in DEFAULT_CHECKPOINTS:
                write_checkpoint(self.checkpoints_folder / f"{style}.safetensors")
        if not (folder / "styles.csv").exists():
            write_default_styles(folder / "styles.csv")

        self.options = Options(folder / "config.json")
        self.state = State(self.options)
        self.steps = StepDriver(step_time)
        self.job_queue = JobQueue(job_log)
        self.tasks = Tasks(self.state, self.options)
        self.styles = Styles(folder / "styles.csv")
        self.checkpoints = Checkpoints(self.checkpoints_folder, folder / "cache.json")
        self.faults: Faults | None = None
        if with_faults:
            from webui.embedded.faults import Faults

            self.faults = Faults(self.steps)
        self.loader = Loader(
            self.checkpoints,
            load_time,
            on_load=self.faults.on_load if self.faults else None,
            on_loaded=self._note_hash,
        )
        if not self.options.sd_model_checkpoint:
            default = self.checkpoints.get(DEFAULT_CHECKPOINT) or next(iter(self.checkpoints), None)
            self.options.data["sd_model_checkpoint"] = default.title if default else None
        self.settings = Settings(self.options, self.checkpoints, self.loader, self.modules_folder, forge=forge)
        self._record: JobRecord | None = None
        self._saved = 0
        self._saving = threading.Lock()

    def _note_hash(self, checkpoint: Checkpoint) -> None:
        self.options.data["sd_checkpoint_hash"] = checkpoint.sha256

    # -- the job that has the GPU ------------------------------------------------------------------------

    def record_loads_in(self, record: JobRecord | None) -> None:
        """Note the loads from here on in this job's record."""
        self._record = record

    def load_model(self) -> Model:
        """The wanted model in memory. Called only by the job that has the GPU."""
        before = self.loader.loads
        try:
            model = self.loader.reload()
        finally:
            if self._record and self.loader.loads > before:
                self._record.loaded = True
        if self._record and model:
            self._record.checkpoint = model.sd_checkpoint_info.model_name
        return model

    # -- files -------------------------------------------------------------------------------------------

    def save(self, image: Image.Image, kind: str, seed: int) -> Path:
        """Keep a picture under outputs/, as `save_images` asks for."""
        day = datetime.datetime.now().astimezone().date().isoformat()
        folder = self.folder / "outputs" / (kind if kind.endswith("s") else f"{kind}-images") / day
        folder.mkdir(parents=True, exist_ok=True)
        with self._saving:
            number, self._saved = self._saved, self._saved + 1
        path = folder / f"{number:05}-{seed}.png"
        path.write_bytes(infotext.to_png(image))
        return path

    def refresh_checkpoints(self) -> None:
        self.checkpoints.refresh()
