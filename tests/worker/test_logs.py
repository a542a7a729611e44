"""Logs stay bounded while processes write to them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from services.process import appending_to
from worker.logs import bound


def test_a_process_writes_on_into_the_emptied_log(tmp_path: Path) -> None:
    log = tmp_path / "runs.log"
    command = appending_to(log, "sh -c 'while read line; do echo $line; echo read $line >&3; done'")
    with subprocess.Popen(
        ["sh", "-c", f"exec 3>&1; exec {command}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        for line in ("one", "two", "three"):
            print(line, file=process.stdin, flush=True)
            assert process.stdout.readline() == f"read {line}\n"
            bound(log, largest=4)
            if line == "one":  # 4 bytes are not too many
                assert not (tmp_path / "runs.log.1").exists()
        process.stdin.close()
    assert (tmp_path / "runs.log.1").read_text() == "three\n"
    assert log.read_text() == ""
