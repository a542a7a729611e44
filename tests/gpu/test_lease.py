"""One run at a time, first come, first served, nobody waits for the dead."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpu.lease import Lease, Ticket, tickets

HOLD = """
import sys
from gpu.lease import Lease
held = Lease(sys.argv[1], run=sys.argv[2], name=sys.argv[2])
held.take()
print("held", flush=True)
sys.stdin.readline()
"""
DEADLINE = 30


@pytest.fixture
def webui(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return "http://127.0.0.1:7860"


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


@contextmanager
def taken(base_url: str, on_wait: Callable[[Ticket], None] = lambda holder: None, **more: str) -> Iterator[None]:
    lease = Lease(base_url, **more)
    lease.take(on_wait)
    try:
        yield
    finally:
        lease.give_back()


def holder(processes: list[subprocess.Popen[str]], webui: str, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, webui, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    processes.append(process)
    return process


def queued(webui: str, name: str) -> None:
    """Return when ``name`` has its ticket."""
    event = threading.Event()
    for _ in range(DEADLINE * 100):
        if name in [ticket.name for ticket in tickets(webui)]:
            return
        event.wait(0.01)
    raise AssertionError(f"{name} took no ticket")


def test_a_waiting_run_says_who_holds_the_gpu(webui: str, processes: list) -> None:
    first = holder(processes, webui, "first")
    assert first.stdout.readline() == "held\n"
    said: list[Ticket] = []
    waiting, done = threading.Event(), threading.Event()

    def wait() -> None:
        def on_wait(ticket: Ticket) -> None:
            said.append(ticket)
            waiting.set()

        with taken(webui, run="2", name="second", on_wait=on_wait):
            done.set()

    threading.Thread(target=wait, daemon=True).start()
    assert waiting.wait(DEADLINE)
    assert said[0].name == "first"
    assert not done.is_set()
    first.stdin.write("\n")
    first.stdin.flush()
    assert done.wait(DEADLINE)
    assert [ticket.name for ticket in said] == ["first"]


def test_a_sigkilled_holder_frees_the_lease(webui: str, processes: list) -> None:
    first = holder(processes, webui, "first")
    assert first.stdout.readline() == "held\n"
    second = holder(processes, webui, "second")
    queued(webui, "second")
    first.send_signal(signal.SIGKILL)
    assert second.stdout.readline() == "held\n"
    assert [ticket.name for ticket in tickets(webui)] == ["second"]


def test_first_come_first_served_also_when_one_in_the_middle_dies(webui: str, processes: list) -> None:
    names = ["a", "b", "c", "d"]
    waiting = []
    for name in names:
        waiting.append(holder(processes, webui, name))
        queued(webui, name)
    assert waiting[0].stdout.readline() == "held\n"
    waiting[1].send_signal(signal.SIGKILL)
    waiting[1].wait()
    assert [ticket.name for ticket in tickets(webui)] == ["a", "c", "d"]
    for at, following in ((0, 2), (2, 3)):
        waiting[at].stdin.write("\n")
        waiting[at].stdin.flush()
        assert waiting[following].stdout.readline() == "held\n"


def test_two_spellings_of_one_address_share_a_lease_and_two_webuis_do_not(webui: str) -> None:
    with taken("http://localhost:7860/", run="1", name="one"):
        assert [ticket.name for ticket in tickets(webui)] == ["one"]
        assert tickets("http://127.0.0.1:7861") == []


def test_the_next_one_hears_when_the_webui_was_last_seen_free(webui: str) -> None:
    first, second = (Lease(webui, run=name, name=name) for name in ("first", "second"))
    first.take()
    first.give_back(idle_at=12.5)
    assert second.take() == 12.5
    second.give_back()
    assert first.take() < 0, "the second one saw nothing"
    first.give_back()


def test_a_clock_that_began_anew_is_not_believed(webui: str) -> None:
    first, second = (Lease(webui, run=name, name=name) for name in ("first", "second"))
    first.take()
    first.give_back(idle_at=time.monotonic() + 1000)
    assert second.take() < 0
    second.give_back()


# -- two users on one host -----------------------------------------------------------------------------------

TAKE = """
import os, sys
from gpu import lease
os.setgid(int(sys.argv[3]))
os.setuid(int(sys.argv[3]))
held = lease.Lease(sys.argv[1], run=sys.argv[2], name=sys.argv[2])
held.take()
print("held", flush=True)
sys.stdin.readline()
"""


def test_what_the_lease_leaves_is_open_to_every_user_whatever_the_umask(webui: str, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with taken(webui, run="1", name="one"):
            folder = tmp_path / "darkroom-leases"
            modes = {path.name: path.stat().st_mode & 0o7777 for path in (folder, *folder.rglob("*"))}
    finally:
        os.umask(before)
    assert modes.pop("idle-at") == modes.pop("00000001.ticket") == 0o666
    assert set(modes.values()) == {0o1777}
    assert len(modes) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as two other users")
def test_a_second_user_waits_for_the_first_takes_over_and_passes_by_their_dead(
    webui: str, processes: list, tmp_path: Path
) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path(folder.anchor):
            folder.chmod(folder.stat().st_mode | 0o711)
    tmp_path.chmod(0o1777)

    def user(name: str, uid: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE, webui, name, str(uid)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process

    first = user("first", 64001)
    assert first.stdout.readline() == "held\n"
    second = user("second", 64002)
    queued(webui, "second")
    first.stdin.write("\n")
    first.stdin.flush()
    assert second.stdout.readline() == "held\n"
    second.send_signal(signal.SIGKILL)
    second.wait()
    third = user("third", 64001)
    assert third.stdout.readline() == "held\n"
    assert [ticket.name for ticket in tickets(webui)] == ["third"]
