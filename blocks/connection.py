"""The WebUI that paints: where it is and how to get in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from prefect.blocks.core import Block
from pydantic import AfterValidator, ConfigDict, Field, SecretStr

from blocks.saved import DEFAULT, load_default
from store.settings import settings
from webui.client import Timeouts, WebUIClient
from webui.errors import WebUIError


def plain_address(address: str) -> str:
    """A WebUI's address without what a browser adds to it.

    Raises:
        ValueError: it is no address, or has a user or password in it. The error does not repeat it.
    """
    try:
        parts = urlsplit(address.strip())
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False  # a port that is no number, or a bracket too few
    if "@" in address:
        raise ValueError("put the WebUI's user and password in their own fields (DARKROOM_WEBUI_AUTH), not its address")
    if not known:
        raise ValueError("the WebUI's address must look like http://host:7860")
    # As copied from a browser it may end in ?__theme=dark, which is no part of the API's address.
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


class WebUI(Block):
    """Connects to a Stable Diffusion WebUI (Forge or AUTOMATIC1111) that was started with `--api`.

    Example:
        ```python
        from blocks.connection import WebUI

        webui = WebUI.load("BLOCK_NAME")
        client = webui.get_client()
        print(client.checkpoints())
        ```
    """

    _block_type_name = "WebUI"
    _block_type_slug = "webui"
    _description = "Connects to a Stable Diffusion WebUI (Forge or AUTOMATIC1111) that was started with --api."
    _documentation_url: ClassVar[Any] = "https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/API"

    model_config = ConfigDict(hide_input_in_errors=True)  # an address that is refused may have a password in it

    # Required: Prefect refuses a reference to a block whose fields all have defaults.
    base_url: Annotated[str, AfterValidator(plain_address)] = Field(
        title="Address", description="Where the WebUI answers, such as http://127.0.0.1:7860.", min_length=8
    )
    user: str = Field("", title="User", description="The user of --api-auth; empty without it.")
    password: SecretStr = Field(SecretStr(""), title="Password", description="The password of --api-auth; kept secret.")
    verify_tls: bool = Field(
        True, title="Verify TLS", description="Check the certificate of an https address; leave it on."
    )
    ca_bundle: str = Field(
        "", title="CA bundle", description="A file with your own certificate authority, for an https address."
    )
    connect_timeout: float = Field(
        3.0, gt=0, le=60, title="Connect within", description="Seconds to connect; 3 by default."
    )
    call_timeout: float = Field(
        15.0, gt=0, le=300, title="Short calls within", description="Seconds for a short call such as a list."
    )
    generation_timeout: float = Field(
        1800.0,
        gt=0,
        le=86400,
        title="Pictures within",
        description="Seconds that a request may be without any progress; half an hour by default.",
    )

    def get_client(self) -> WebUIClient:
        """A client for this WebUI."""
        own = str(Path(self.ca_bundle).expanduser()) if self.ca_bundle else True
        verify: bool | str = own if self.verify_tls else False
        return WebUIClient(
            self.base_url,
            user=self.user,
            password=self.password.get_secret_value(),
            verify=verify,
            timeouts=Timeouts(connect=self.connect_timeout, call=self.call_timeout, generation=self.generation_timeout),
        )

    @classmethod
    def from_settings(cls, url: str | None = None) -> WebUI | None:
        """The WebUI at ``url``, else at ``DARKROOM_WEBUI_URL``, with ``DARKROOM_WEBUI_AUTH``; None without an address.

        Raises:
            ValueError: the address is wrong.
        """
        if not (address := url or settings().webui_url):
            return None
        user, _, password = settings().webui_auth.partition(":")
        return cls(base_url=plain_address(address), user=user, password=SecretStr(password))

    @classmethod
    def chosen(cls, webui: WebUI | None) -> WebUI:
        """The one that a run's form picked, else the environment's, else the block named ``default``.

        Raises:
            ValueError: there is none of them, or it cannot be read.
        """
        if (found := webui or cls.from_settings() or saved_webui()) is not None:
            return found
        raise ValueError(
            "No WebUI is known. Save a WebUI block named 'default' in the Prefect UI (Blocks), "
            "or set DARKROOM_WEBUI_URL=http://host:7860, or start one with: darkroom webui"
        )


def why_not_ready(client: WebUIClient) -> str:
    """Why a WebUI could not paint now; empty: it could, or it is merely busy. One that does not answer short calls
    could not: a run's preflight needs the same lists within the same time."""
    try:
        # While it starts, its port is open and some routes answer 404.
        if not client.checkpoints():
            return f"{client.base_url} has no checkpoint"
        client.samplers()
        client.job_state()
    except WebUIError as error:
        return str(error)
    return ""


def saved_webui() -> WebUI | None:
    """The block ``webui/default``, see :func:`load_default`."""
    return load_default(WebUI, "write it anew: darkroom deploy --webui http://host:7860")


def save_webui(webui: WebUI, say: Callable[[str], None]) -> None:
    """Write the address into ``webui/default``. The block's other fields stay; its password only for the same host."""
    try:
        there = saved_webui()
    except ValueError:
        there = None  # it cannot be read, and is written anew
    if there is None:
        there = webui
    elif there.base_url == webui.base_url:
        return
    elif webui.user or urlsplit(there.base_url)[:2] != urlsplit(webui.base_url)[:2]:
        if there.user and not webui.user:
            say("block webui/default: another host does not get the user and password of the last one")
        there.user, there.password = webui.user, webui.password
    there.base_url = webui.base_url
    there.save(DEFAULT, overwrite=True)
    say(f"block webui/default: {webui.base_url}")
