"""What the installation decides, read from ``DARKROOM_…`` environment variables."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parents[1]


class Settings(BaseSettings):
    """One installation's choices; each field is the environment variable ``DARKROOM_<FIELD>``."""

    model_config = SettingsConfigDict(env_prefix="DARKROOM_")

    home: Path = Field(PROJECT / ".darkroom", description="Where Prefect's state, stored inputs and logs lie")
    webui_url: str = Field("", description="The WebUI to use where no connection block is chosen")
    webui_auth: str = Field("", repr=False, description="user:password of that WebUI's --api-auth")
    gallery: Path = Field(PROJECT / "gallery", description="Where pictures go where no gallery block is chosen")
    inputs: Path = Field(PROJECT / "inputs", description="From here a run may take files that its parameters name")
    wildcards: Path = Field(PROJECT / "wildcards", description="The folder of the wildcard files, NAME.txt")
    public_address: str = Field("", description="Where others reach Prefect under `darkroom up`: http://host:4200")
    interactive_first: bool = Field(True, description="Whether a run makes room for clients of the WebUI's API")
    poll_interval: float = Field(0.5, gt=0, le=60, description="Seconds between two progress polls")
    preview_every: float = Field(
        0, ge=0, le=600, description="Seconds between two live previews in the Prefect UI; 0: none"
    )
    retry_backoff: float = Field(2.0, ge=0, le=600, description="Seconds before the first retry; then doubled")
    lookahead: bool = Field(
        False, description="Two runs at a time in the pool: one on the GPU, the next one getting ready"
    )

    def private_home(self) -> Path:
        """``home``, which only its owner may enter: Prefect's database holds the passwords of blocks."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.home.stat().st_mode & 0o077:
            self.home.chmod(0o700)
        return self.home

    @property
    def store(self) -> Path:
        """Files given with jobs, by content hash."""
        return self.home / "store"

    @property
    def runs(self) -> Path:
        """One folder per flow run: each picture as soon as it is made."""
        return self.home / "runs"

    @property
    def prefect_home(self) -> Path:
        """Prefect's own state; never the user's home folder."""
        return self.home / "prefect"


@cache
def settings() -> Settings:
    return Settings()
