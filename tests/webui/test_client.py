"""The client against real sockets: every typed error from its real cause, and no secret in any of them."""

from __future__ import annotations

import base64
import datetime
import http.server
import ipaddress
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from webui.client import Timeouts, WebUIClient
from webui.embedded.server import EmbeddedWebUI
from webui.errors import (
    AnswerLost,
    BadAnswer,
    BrokenImage,
    CallFailed,
    CallTimedOut,
    NotAuthenticated,
    NotFound,
    OutOfMemory,
    Rejected,
    Unavailable,
    Unreachable,
    WebUIError,
)
from webui.models import ProgressInfo

TINY: dict[str, Any] = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}
SECRET = "s3cret-Wört"
PATIENCE = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedWebUI]:
    with EmbeddedWebUI(folder=tmp_path_factory.mktemp("webui"), faults=True) as running:
        yield running


@pytest.fixture
def client(server: EmbeddedWebUI) -> Iterator[WebUIClient]:
    yield WebUIClient(server.url)
    requests.delete(f"{server.url}/faults", timeout=PATIENCE)
    server.steps.release()
    assert server.wait_until_idle(PATIENCE)


def arm(server: EmbeddedWebUI, **fault: Any) -> None:
    requests.post(f"{server.url}/faults", json=fault, timeout=PATIENCE).raise_for_status()


class Canned:
    """A server that gives every request one answer: a status, a body, headers."""

    def __init__(self, answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> None:
        self.asked: list[tuple[str, str]] = []
        canned = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                canned.asked.append((self.command, self.path))
                self.rfile.read(int(self.headers.get("content-length") or 0))
                answer(self)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


Serve = Callable[..., Canned]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[Canned] = []

    def start(body: object = None, status: int = 200, answer: Any = None) -> Canned:
        def plain(handler: http.server.BaseHTTPRequestHandler) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            handler.send_response(status)
            handler.send_header("content-length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)

        running.append(Canned(answer or plain))
        return running[-1]

    yield start
    for one in running:
        one.close()


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# -- nothing answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["checkpoints", "options", "samplers", "job_state", "interrupt", "pending_tasks"])
def test_connection_refused(call: str) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(Unreachable, match=rf"{url}.*refused.*Is the WebUI running"):
        getattr(WebUIClient(url), call)()


@pytest.mark.parametrize("call", ["txt2img", "img2img", "extra_single_image"])
def test_a_generation_that_never_left_is_unreachable_not_lost(call: str) -> None:
    with pytest.raises(Unreachable, match="refused"):
        getattr(WebUIClient(f"http://127.0.0.1:{closed_port()}"), call)(TINY)


def test_unknown_host() -> None:
    client = WebUIClient("http://no-such-host.invalid:7860", timeouts=Timeouts(connect=5))
    for call in (client.checkpoints, lambda: client.txt2img(TINY)):
        with pytest.raises(Unreachable, match=r"no-such-host\.invalid"):
            call()


def test_no_connection_in_time() -> None:
    """A listener whose backlog is full takes no connection."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        client = WebUIClient(f"http://127.0.0.1:{address[1]}", timeouts=Timeouts(connect=0.2, call=0.2))
        with pytest.raises(Unreachable):
            client.checkpoints()
        for filler in fillers:
            filler.close()


def test_a_short_call_times_out_when_it_says(server: EmbeddedWebUI, client: WebUIClient) -> None:
    """Once, not again by itself: else each time-out would last twice as long."""
    client.timeouts = Timeouts(call=0.4, progress=0.4)
    arm(server, kind="hang", path="/sdapi/v1/s*", times=None)
    before = len(server.requests.of("GET", "/sdapi/v1/samplers"))
    started = time.monotonic()
    with pytest.raises(CallTimedOut, match=r"samplers was not answered in 0\.4 s"):
        client.samplers()
    assert time.monotonic() - started < 0.75
    assert len(server.requests.of("GET", "/sdapi/v1/samplers")) == before + 1


def test_an_idle_connection_that_the_server_closed_is_opened_anew(serve: Serve) -> None:
    def once(handler: http.server.BaseHTTPRequestHandler) -> None:
        if len(canned.asked) == 2:  # the connection was kept, and breaks at the next request
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        handler.send_response(200)
        handler.send_header("content-length", "2")
        handler.end_headers()
        handler.wfile.write(b"[]")

    canned = serve(answer=once)
    client = WebUIClient(canned.url)
    assert client.samplers() == []
    assert client.samplers() == []
    assert len(canned.asked) == 3


# -- the connection breaks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_dropped_before_or_after_the_work_loses_the_answer_and_sends_nothing_twice(
    server: EmbeddedWebUI, client: WebUIClient, when: str
) -> None:
    begun = server.job_queue.begun
    arm(server, kind="drop", when=when)
    with pytest.raises(AnswerLost, match="painted again"):
        client.txt2img(TINY)
    assert server.wait_until_idle(PATIENCE)
    assert server.job_queue.begun - begun == (when == "after")


def test_a_generation_that_takes_too_long_is_lost(server: EmbeddedWebUI, client: WebUIClient) -> None:
    client.timeouts = Timeouts(generation=0.3)
    arm(server, kind="hang")
    with pytest.raises(AnswerLost, match=r"0\.3 s.*raise the connection's generation time-out"):
        client.txt2img(TINY)


def test_an_answer_cut_in_the_middle_is_lost(serve: Serve) -> None:
    def cut(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "100000")
        handler.end_headers()
        handler.wfile.write(b'{"images": ["')
        handler.close_connection = True

    canned = serve(answer=cut)
    with pytest.raises(AnswerLost):
        WebUIClient(canned.url).txt2img(TINY)
    with pytest.raises(Unreachable):
        WebUIClient(canned.url).samplers()


# -- it answers, but not with what was asked -----------------------------------------------------------------


def test_api_auth(tmp_path: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path, api_auth=f"me:{SECRET.replace('ö', 'o')}") as guarded:
        right = WebUIClient(guarded.url, user="me", password=SECRET.replace("ö", "o"))
        assert [one.name for one in right.samplers()]
        assert right.txt2img(TINY).images
        for user, password in (("", ""), ("me", "wrong"), ("me", SECRET)):
            stranger = WebUIClient(guarded.url, user=user, password=password)
            for call in (stranger.samplers, lambda s=stranger: s.txt2img(TINY)):
                with pytest.raises(NotAuthenticated, match=r"401.*--api-auth") as caught:
                    call()
                assert password == "" or password not in str(caught.value)


def test_a_password_in_netrc_is_used(server: EmbeddedWebUI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with EmbeddedWebUI(folder=tmp_path / "webui", api_auth="me:secret") as guarded:
        assert WebUIClient(guarded.url).samplers()


def test_a_proxy_of_the_environment_is_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve([{"name": "Euler"}])
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy.url)
    assert WebUIClient("http://webui.invalid:7860").samplers()[0].name == "Euler"
    assert proxy.asked == [("GET", "http://webui.invalid:7860/sdapi/v1/samplers")]


def test_not_found_says_whether_it_is_a_webui_at_all(serve: Serve) -> None:
    with pytest.raises(NotFound, match="--api"):
        WebUIClient(serve({"detail": "Not Found"}, 404).url).samplers()


def test_rejected(client: WebUIClient) -> None:
    with pytest.raises(Rejected, match="steps"):
        client.txt2img(TINY | {"steps": "many"})


@pytest.mark.parametrize("change", [{"width": 0}, {"steps": 0}, {"prompt": None}], ids=str)
def test_what_a_real_webui_answers_with_500_is_not_tried_again(client: WebUIClient, change: dict[str, Any]) -> None:
    with pytest.raises(CallFailed, match="500") as caught:
        client.txt2img(TINY | change)
    assert type(caught.value) is CallFailed
    assert not caught.value.transient


def test_missing_init_image(client: WebUIClient) -> None:
    with pytest.raises(NotFound, match="Init image not found"):
        client.img2img(TINY)


def test_out_of_memory(server: EmbeddedWebUI, client: WebUIClient) -> None:
    arm(server, kind="error", like="out of memory")
    with pytest.raises(OutOfMemory, match=r"CUDA out of memory.*smaller size") as caught:
        client.txt2img(TINY)
    assert not caught.value.transient


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateways_errors_are_transient(serve: Serve, status: int) -> None:
    client = WebUIClient(serve(b"<html>gateway</html>", status).url)
    for call in (client.samplers, lambda: client.txt2img(TINY)):
        with pytest.raises(Unavailable, match=f"{status}: <html>gateway") as caught:
            call()
        assert caught.value.transient


@pytest.mark.parametrize("body", [b"<!doctype html><title>nginx</title>", b"", b"\xff\xfe"])
def test_a_200_that_is_not_json(serve: Serve, body: bytes) -> None:
    client = WebUIClient(serve(body).url)
    for call in (client.samplers, lambda: client.txt2img(TINY)):
        with pytest.raises(BadAnswer, match=r"not with JSON.*Is this address a WebUI's"):
            call()


@pytest.mark.parametrize(
    "call",
    [
        "checkpoints", "samplers", "schedulers", "upscalers", "latent_upscale_modes", "styles", "loras", "vaes",
        "scripts", "options", "adetailer_models", "adetailer_schema", "pending_tasks", "job_state",
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", [42, ["text"], {"tasks": 1, "ad_model": 1, "state": 1, "txt2img": 1}, None], ids=str)
def test_json_of_another_shape_is_a_typed_error(serve: Serve, call: str, body: Any) -> None:
    client = WebUIClient(serve(body).url)
    if call in ("options", "adetailer_schema") and isinstance(body, dict):
        assert getattr(client, call)() == body
    else:
        with pytest.raises(BadAnswer, match="unknown form"):
            getattr(client, call)()


@pytest.mark.parametrize(
    "body",
    [{}, {"images": [], "info": "no json"}, {"images": None, "info": "{}"}, {"images": [1], "info": "{}"}, [], None],
    ids=str,
)
def test_a_generation_of_another_shape(serve: Serve, body: Any) -> None:
    client = WebUIClient(serve(body).url)
    with pytest.raises(BadAnswer, match="200"):
        client.txt2img(TINY)
    with pytest.raises(BadAnswer, match="200"):
        client.extra_single_image({})


def test_a_picture_that_is_no_base64(serve: Serve) -> None:
    with pytest.raises(BrokenImage, match="no base64"):
        WebUIClient(serve({"images": ["iVBOR!!"], "info": "{}"}).url).txt2img(TINY)


def test_a_picture_may_be_a_data_uri(serve: Serve) -> None:
    uri = "data:image/png;base64," + base64.b64encode(b"picture").decode()
    assert WebUIClient(serve({"images": [uri], "info": "{}"}).url).txt2img(TINY).images == [b"picture"]


def test_grids_are_left_out(server: EmbeddedWebUI, client: WebUIClient) -> None:
    """With save_images and several pictures a WebUI puts a grid first, and every seed would be off by one."""
    asked = TINY | {"n_iter": 2, "save_images": True}
    raw = requests.post(f"{server.url}/sdapi/v1/txt2img", json=asked, timeout=PATIENCE).json()
    assert len(raw["images"]) == 3
    made = client.txt2img(asked)
    assert made.info.index_of_first_image == 1
    assert made.images == [base64.b64decode(image) for image in raw["images"][1:]]
    assert made.info.all_seeds == [1, 2]


# -- what the WebUI is ---------------------------------------------------------------------------------------


def test_forge_and_automatic1111_are_told_apart(client: WebUIClient, tmp_path: Path) -> None:
    assert client.is_forge()
    with EmbeddedWebUI(folder=tmp_path, forge=False) as other:
        automatic = WebUIClient(other.url)
        assert not automatic.is_forge()
        assert automatic.vaes() == []
        assert [path for _, path, *_ in other.requests if path.endswith("sd-vae")]


def test_a_webui_that_is_starting_is_not_taken_for_automatic1111(serve: Serve) -> None:
    """Its routes answer 404 for some seconds; a job would then send AUTOMATIC1111's VAE setting to a Forge."""
    with pytest.raises(NotFound):
        WebUIClient(serve({"detail": "Not Found"}, 404).url).is_forge()


def test_what_is_not_installed_is_empty(serve: Serve) -> None:
    client = WebUIClient(serve({"detail": "Not Found"}, 404).url)
    assert client.loras() == []
    assert client.adetailer_models() == []
    assert client.adetailer_version() is None
    with pytest.raises(NotFound):
        client.adetailer_schema()


# -- progress ------------------------------------------------------------------------------------------------


def test_get_progress_returns_progress_info(server: EmbeddedWebUI, client: WebUIClient) -> None:
    server.steps.hold()
    server.steps.advance(3)
    job = threading.Thread(target=client.txt2img, args=(TINY | {"steps": 10, "force_task_id": "task(me)"},))
    job.start()
    assert server.steps.wait_for(3, PATIENCE)
    info = client.get_progress()
    assert isinstance(info, ProgressInfo)
    assert info.total_steps == 10
    assert info.current_step in (2, 3)  # the WebUI counts from 0
    assert info.progress == pytest.approx(info.current_step / 10 + 0.01)  # 0.01 is the WebUI's own
    assert info.current_image is None
    ours = client.task_progress("task(me)")
    assert (ours.active, ours.progress) == (True, pytest.approx(info.current_step / 10))
    strange = client.task_progress("task(another)")
    assert not (strange.active or strange.queued or strange.completed)
    server.steps.release()
    job.join(PATIENCE)


@pytest.mark.parametrize(("skip", "said"), [(True, "true"), (False, "false")])
def test_the_preview_is_asked_for_only_when_wanted(serve: Serve, skip: bool, said: str) -> None:
    canned = serve({"progress": 0.5, "eta_relative": 1.0, "state": {"job": "x", "job_count": 1}})
    assert WebUIClient(canned.url).get_progress(skip_current_image=skip) is not None
    assert canned.asked == [("GET", f"/sdapi/v1/progress?skip_current_image={said}")]


@pytest.mark.parametrize(("status", "can"), [(200, True), (404, False), (405, False), (501, False)])
def test_a_restart_tells_whether_the_webui_can_do_that(serve: Serve, status: int, can: bool) -> None:
    canned = serve({}, status)
    assert WebUIClient(canned.url).restart() is can
    assert canned.asked == [("POST", "/sdapi/v1/server-restart")]


def test_a_restart_that_breaks_the_connection_has_begun_and_a_refused_one_has_not(serve: Serve) -> None:
    assert WebUIClient(serve(answer=lambda handler: handler.connection.close()).url).restart()
    with pytest.raises(NotAuthenticated):
        WebUIClient(serve({"detail": "Not authenticated"}, 401).url).restart()


def test_get_progress_returns_none_when_idle(client: WebUIClient) -> None:
    client.txt2img(TINY)  # what is left of the last job is not a job
    assert client.get_progress() is None
    assert client.job_state().state.running is False


def test_get_progress_handles_timeout(server: EmbeddedWebUI, client: WebUIClient) -> None:
    client.timeouts = Timeouts(progress=0.3)
    arm(server, kind="hang", path="*/progress", times=None)
    started = time.monotonic()
    assert client.get_progress() is None
    with pytest.raises(CallTimedOut):
        client.task_progress("task(me)")
    assert time.monotonic() - started < 1.1, "each of the two is given 0.3 s, once"


def test_get_progress_handles_connection_error() -> None:
    client = WebUIClient(f"http://127.0.0.1:{closed_port()}")
    assert client.get_progress() is None
    with pytest.raises(Unreachable):
        client.task_progress("task(me)")


@pytest.mark.parametrize(("status", "body"), [(500, {"error": "TypeError"}), (200, b"no json"), (200, [1]), (401, {})])
def test_get_progress_returns_none_on_error(serve: Serve, status: int, body: Any) -> None:
    client = WebUIClient(serve(body, status).url)
    assert client.get_progress() is None
    with pytest.raises(WebUIError):
        client.task_progress("task(me)")


def test_progress_is_given_five_seconds_by_default() -> None:
    assert Timeouts().progress == 5.0
    assert Timeouts().connect == 3.0


def test_progress_info_from_response() -> None:
    """Fields of a recorded answer."""
    recorded = json.loads((Path(__file__).parents[1] / "contract/recordings/progress/n_iter2_128.json").read_text())
    running = [entry[1] for entry in recorded["timeline"] if entry[0] == "sdapi" and entry[1]["progress"] > 0.5]
    info = ProgressInfo.model_validate(running[0])
    assert info.progress == 0.51
    assert (info.state.job, info.state.job_no, info.state.job_count) == ("Batch 2 out of 2", 1, 2)
    assert (info.current_step, info.total_steps) == (0, 10)
    assert info.state.running


def test_without_internal_routes_task_progress_says_so(tmp_path: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path, nowebui=True) as bare:
        client = WebUIClient(bare.url)
        with pytest.raises(NotFound):
            client.task_progress("task(me)")
        with pytest.raises(NotFound):
            client.pending_tasks()
        assert client.get_progress() is None


# -- TLS -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that only its own file vouches for; key and certificate in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "darkroom test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def https(serve: Serve, own_ca: Path) -> str:
    canned = serve([])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own_ca)
    # The handshake belongs to the connection's own thread: a client that refuses us must not stop the server.
    canned.server.socket = context.wrap_socket(canned.server.socket, server_side=True, do_handshake_on_connect=False)
    return canned.url.replace("http:", "https:")


def test_an_unknown_certificate_is_refused_by_default(https: str) -> None:
    for call in (WebUIClient(https).samplers, lambda: WebUIClient(https).txt2img(TINY)):
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            call()


def test_an_own_ca_is_accepted_whatever_the_environment_says(
    https: str, own_ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WebUIClient(https, verify=str(own_ca)).samplers() == []
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    assert WebUIClient(https, verify=str(own_ca)).samplers() == []


def test_a_ca_file_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.pem is not on this machine"):
        WebUIClient("https://host", verify=str(tmp_path / "none.pem"))


# -- secrets -------------------------------------------------------------------------------------------------


def test_a_password_shows_nowhere(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    encoded = base64.b64encode(f"me:{SECRET}".encode()).decode()
    said = []
    for url in (
        serve({"detail": "Not authenticated"}, 401).url,
        serve(b"no json").url,
        serve(b"", 503).url,
        f"http://127.0.0.1:{closed_port()}",
    ):
        client = WebUIClient(url, user="me", password=SECRET)
        client.get_progress()
        said.append(repr(client))
        for call in (client.samplers, lambda c=client: c.txt2img(TINY)):
            with pytest.raises(WebUIError) as caught:
                call()
            said += [str(caught.value), repr(caught.value), repr(caught.value.__cause__), str(vars(caught.value))]
    said.append(caplog.text)
    assert caplog.text, "something was logged"
    for text in said:
        assert SECRET not in text
        assert encoded not in text


def test_an_address_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="user and password") as caught:
        WebUIClient(f"http://me:{SECRET}@host:7860")
    assert SECRET not in str(caught.value)
