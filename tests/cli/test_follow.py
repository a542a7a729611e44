"""What `darkroom run` shows of a run's log, against a real Prefect server."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Running
from rich.console import Console

from cli import follow
from cli.follow import Follower, what_to_show
from tests.servers import Prefect
from tests.waiting import until

BEGAN = datetime.now(UTC) - timedelta(minutes=1)


@pytest.fixture
def prefect(deployed: Prefect) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: deployed.api}), get_client(sync_client=True) as client:
        yield client


class Followed:
    """A run without a process, whose states and log lines the test writes, and the follower that watches it."""

    def __init__(self, prefect: SyncPrefectClient, deployed: Prefect) -> None:
        self._prefect = prefect
        self._output = io.StringIO()
        run = prefect.read_flow_run(UUID(deployed.queue(name="followed")))
        self._run: FlowRun = run
        prefect.set_flow_run_state(run.id, Running(), force=True)
        # With the test's context, which holds the server's address.
        self._thread = threading.Thread(target=copy_context().run, args=(self._follow,), daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        with get_client(sync_client=True) as client:
            Follower(client, self._run.id, Console(file=self._output, soft_wrap=True)).until_ended()

    def log(self, *messages: str, at: datetime | None = None, task: bool = False) -> None:
        """Lines as a process of the run sends them: in one batch, of the flow or of one of its tasks."""
        self._prefect.create_logs(
            LogCreate(
                name="prefect.task_runs" if task else "prefect.flow_runs",
                level=20,
                message=message,
                timestamp=at or datetime.now(UTC),
                flow_run_id=self._run.id,
                task_run_id=uuid4() if task else None,
            )
            for message in messages
        )

    def complete(self) -> None:
        self._prefect.set_flow_run_state(self._run.id, Completed(), force=True)

    def ended(self) -> list[str]:
        """The lines that were shown, once the follower has returned."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the follower did not end"
        return self.shown

    @property
    def shown(self) -> list[str]:
        return self._output.getvalue().splitlines()


@pytest.fixture
def followed(prefect: SyncPrefectClient, deployed: Prefect) -> Followed:
    return Followed(prefect, deployed)


def test_lines_that_arrive_after_younger_ones_are_shown(followed: Followed) -> None:
    followed.log("second", at=BEGAN + timedelta(seconds=5))
    until("the younger line is shown", lambda: "second" in followed.shown)
    followed.log("first", at=BEGAN)
    until("the older line is shown", lambda: "first" in followed.shown)
    followed.complete()
    followed.log("last")
    assert [line for line in followed.ended() if line in ("first", "second", "last")] == ["second", "first", "last"]


def test_more_lines_than_a_page_holds_are_each_shown_once(followed: Followed) -> None:
    lines = [f"line {number}" for number in range(2 * follow.LOG_PAGE + 50)]
    followed.log(*lines, at=BEGAN)
    followed.complete()
    followed.log("last")
    assert sorted(line for line in followed.ended() if line.startswith("line ")) == sorted(lines)


def test_the_log_does_not_end_with_what_a_task_says(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "LOG_QUIET", 30.0)
    monkeypatch.setattr(follow, "LOG_END_WITHIN", 30.0)
    followed.complete()
    followed.log("Finished in state Completed()", "a task is done", task=True)
    until("the task's line is shown", lambda: "a task is done" in followed.shown)
    followed.log("the flow's last line")
    assert followed.ended()[-1] == "the flow's last line"


def test_a_log_without_a_last_line_ends_with_silence(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "LOG_QUIET", 0.5)
    followed.log("painting", task=True)
    followed.complete()
    assert "painting" in followed.ended()


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("txt2img 1/2 in 3.2 s: a.png", "txt2img 1/2 in 3.2 s: a.png"),
        ("refused\nTraceback (most recent call last):\n  File x\nValueError: no", "refused"),
        ("Encountered exception during execution: ValueError('no')\nTraceback (most recent call last):\n  File x", ""),
        ("Finished in state Failed('no')", ""),
        ("Finished in state office", "Finished in state office"),
        ("contact sheet: http://127.0.0.1:4200/artifacts/artifact/1", ""),
    ],
)
def test_a_message_loses_its_traceback_and_the_engines_words(message: str, shown: str) -> None:
    assert what_to_show(message) == shown
