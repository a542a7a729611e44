"""What a user configures once: conventions, registration, the picker's reference, and a password that stays one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from prefect import flow
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockTypeCreate
from prefect.settings import PREFECT_API_URL
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError

from blocks.connection import WebUI
from blocks.gallery import Gallery
from store.settings import settings

SECRET = "s3cret-word"


class Conventions(BlockStandardTestSuite):
    """Prefect's own suite, but for the logo: it takes an address only, and the page would need the internet."""

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        assert block._logo_url is None
        with pytest.raises(ValidationError):
            BlockTypeCreate(name="x", slug="x", logo_url="data:image/png;base64,iVBORw0KGgo=")


class TestWebUIBlock(Conventions):
    @pytest.fixture
    def block(self) -> type[Block]:
        return WebUI


class TestGalleryBlock(Conventions):
    @pytest.fixture
    def block(self) -> type[Block]:
        return Gallery


def test_the_form_reads_well() -> None:
    for kind in (WebUI, Gallery):
        for name, field in kind.model_json_schema()["properties"].items():
            assert field.get("title") and field.get("description"), f"{kind.__name__}.{name}"
        assert kind.model_json_schema()["required"], "a block without a required field cannot be referred to"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://host:7860/", "http://host:7860"),
        (" https://host/webui/ ", "https://host/webui"),
        ("http://127.0.0.1:7860/?__theme=dark", "http://127.0.0.1:7860"),
        ("http://[::1]:7860", "http://[::1]:7860"),
    ],
)
def test_an_address_is_tidied(given: str, kept: str) -> None:
    assert WebUI(base_url=given).base_url == kept


@pytest.mark.parametrize("address", ["host:7860", "ftp://host/x", "http://", "http://host:99999", "http://[::1:7860"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        WebUI(base_url=address)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError, match="own fields") as caught:
        WebUI(base_url=f"http://me:{SECRET}@host:7860")
    assert SECRET not in str(caught.value)


def test_tls_is_verified_by_default(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert WebUI(base_url="https://host").get_client()._session.verify is True
    own = tmp_path / "own.pem"
    own.touch()
    assert WebUI(base_url="https://host", ca_bundle=str(own)).get_client()._session.verify == str(own)
    assert WebUI(base_url="https://host", verify_tls=False).get_client()._session.verify is False


def test_time_outs_reach_the_client() -> None:
    block = WebUI(base_url="http://host", connect_timeout=1, call_timeout=2, generation_timeout=3)
    timeouts = block.get_client().timeouts
    assert (timeouts.connect, timeouts.call, timeouts.generation) == (1, 2, 3)


def test_a_password_shows_nowhere() -> None:
    block = WebUI(base_url="http://host", user="me", password=SecretStr(SECRET))
    for text in (
        repr(block),
        str(block),
        block.model_dump_json(),
        repr(block.get_client()),
        str(vars(block)),
    ):
        assert SECRET not in text


def test_the_environments_webui(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "webui_url", "http://host:7860")
    monkeypatch.setattr(settings(), "webui_auth", f"me:{SECRET}:with-colon")
    block = WebUI.from_settings()
    assert block is not None
    assert (block.user, block.password.get_secret_value()) == ("me", f"{SECRET}:with-colon")
    assert SECRET not in repr(settings())


def test_a_wrong_address_in_the_environment_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "webui_url", f"http://me:{SECRET}@host:7860")
    with pytest.raises(ValueError, match=r"^put the WebUI's user and password in their own fields") as caught:
        WebUI.chosen(None)
    assert SECRET not in str(caught.value)


@pytest.fixture
def saved(prefect_server: None) -> Iterator[WebUI]:
    block = WebUI(base_url="http://host:7860", user="me", password=SecretStr(SECRET))
    block.save("picked", overwrite=True)
    Gallery(folder="pictures").save("picked", overwrite=True)
    yield block
    WebUI.delete("picked")
    Gallery.delete("picked")


def test_a_saved_block_comes_back_whole(saved: WebUI) -> None:
    again = WebUI.load("picked")
    assert again.password.get_secret_value() == SECRET
    assert again.base_url == saved.base_url
    assert Gallery.load("picked").folder == "pictures"


@flow(name="uses-a-picked-block", persist_result=False)
def uses(webui: WebUI | None = None, gallery: Gallery | None = None) -> bool:
    from prefect import get_run_logger

    assert webui is not None
    get_run_logger().info("painting with %s and %s", webui, gallery)
    return webui.password.get_secret_value() == SECRET


def test_a_reference_from_the_run_form_is_taken_and_the_password_stays_secret(saved: WebUI) -> None:
    """Through the API, as the form's picker sends it: accepted by the flow's schema, whole in the flow, and in no
    parameter, log or result."""
    from prefect.flow_engine import run_flow

    api = PREFECT_API_URL.value()
    schema = uses.__prefect_flow_schema__ if hasattr(uses, "__prefect_flow_schema__") else uses.parameters.model_dump()
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(uses)
        deployment = client.create_deployment(
            flow_id, name="picked", parameter_openapi_schema=schema, enforce_parameter_schema=True
        )
    parameters = {kind: {"$ref": {"block_document_slug": f"{kind}/picked"}} for kind in ("webui", "gallery")}
    answer = requests.post(
        f"{api}/deployments/{deployment}/create_flow_run", json={"parameters": parameters}, timeout=60
    )
    assert answer.status_code == 201, answer.text
    refused = requests.post(
        f"{api}/deployments/{deployment}/create_flow_run",
        json={"parameters": {"webui": 5}},
        timeout=60,
    )
    assert refused.status_code == 409, refused.text
    run_id = answer.json()["id"]
    assert SECRET not in answer.text
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
    assert run_flow(uses, flow_run=run, parameters=run.parameters) is True, "the password arrived"
    said = requests.get(f"{api}/flow_runs/{run_id}", timeout=60).text
    said += requests.post(f"{api}/logs/filter", json={"logs": {"flow_run_id": {"any_": [run_id]}}}, timeout=60).text
    assert SECRET not in said
