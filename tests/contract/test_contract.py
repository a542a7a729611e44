"""The embedded WebUI against the recordings of a real Forge, field by field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import scenarios_exchanges  # noqa: F401  (registers its scenarios)
import scenarios_timelines  # noqa: F401  (registers its scenarios)
from compaction import RECORDINGS, compact
from comparing import Difference, differences
from differs import ON_PURPOSE, as_markdown
from replaying import HASHES, Replays, common, recording, recording_names, scenario_of
from views import view

from webui.embedded.catalogue import write_default_styles
from webui.embedded.checkpoints import write_checkpoint

REPOSITORY = Path(__file__).parents[2]
SHARED = REPOSITORY.parent / "shared" / "forge"


@pytest.fixture(scope="session")
def replays(tmp_path_factory: pytest.TempPathFactory) -> Replays:
    return Replays(lambda name: make_folder(tmp_path_factory.mktemp(name)))


def make_folder(folder: Path) -> Path:
    """A WebUI's folder with the checkpoints of the recordings."""
    for name in HASHES:
        write_checkpoint(folder / "models" / "Stable-diffusion" / f"{name}.safetensors")
    write_default_styles(folder / "styles.csv")
    return folder


def found_differences(name: str, replays: Replays) -> list[Difference]:
    return differences(name, view(name, common(recording(name))), view(name, replays.of(name)))


@pytest.mark.parametrize("name", recording_names())
def test_answers_as_recorded(name: str, replays: Replays) -> None:
    untold = [
        difference
        for difference in found_differences(name, replays)
        if not any(entry.covers(difference) for entry in ON_PURPOSE)
    ]
    assert not untold, "\n".join(map(str, untold[:20]))


@pytest.mark.parametrize("entry", ON_PURPOSE, ids=lambda entry: f"{entry.recordings} {entry.field}")
def test_what_the_table_lists_really_differs(entry, replays: Replays) -> None:
    names = recording_names(entry.recordings)
    assert names, "no recording has that name"
    assert any(entry.covers(difference) for name in names for difference in found_differences(name, replays))


def test_the_documents_table_is_the_codes() -> None:
    document = (REPOSITORY / "docs" / "embedded-webui.md").read_text()
    _, _, rest = document.partition("<!-- differs: generated from tests/contract/differs.py -->\n")
    table, _, _ = rest.partition("<!-- /differs -->")
    assert table == as_markdown(), "run python tests/contract/differs.py"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the full recordings are not beside this checkout")
def test_no_shared_recording_is_left_out() -> None:
    for path in SHARED.rglob("*.json"):
        name = str(path.relative_to(SHARED).with_suffix(""))
        assert scenario_of(name), f"{name} has no scenario"
        kept = json.loads((RECORDINGS / f"{name}.json").read_text())
        assert kept == compact(json.loads(path.read_text())), f"{name} is not the compact copy of the shared"
