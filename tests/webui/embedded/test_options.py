"""Options: set, kept, overridden, poisoned and left half applied, as recorded."""

import json
from typing import Any

import pytest

from webui.embedded.options import Options

PHOTO, OIL, INK = "photo.safetensors", "oil.safetensors", "ink.safetensors"


def selected(webui) -> str:
    return webui.get("/sdapi/v1/options").json()["sd_model_checkpoint"]


def choose(webui, checkpoint: Any, **others: Any):
    return webui.post("/sdapi/v1/options", {"sd_model_checkpoint": checkpoint, **others})


def saved(webui) -> dict[str, Any]:
    return json.loads((webui.server.folder / "config.json").read_text())


@pytest.fixture
def fresh(start):
    return start()


def test_every_option_answers_and_its_type_follows_its_default(fresh) -> None:
    told = fresh.get("/sdapi/v1/options").json()
    assert len(told) == 331
    assert told["CLIP_stop_at_last_layers"] == 1.0
    assert told["samples_format"] == "png"
    assert told["live_previews_enable"] is True


def test_what_is_set_is_answered_and_saved(fresh) -> None:
    answer = fresh.post("/sdapi/v1/options", {"samples_format": "jpg"})
    assert (answer.status_code, answer.json()) == (200, None)
    assert fresh.get("/sdapi/v1/options").json()["samples_format"] == "jpg"
    assert saved(fresh)["samples_format"] == "jpg"
    assert "CLIP_stop_at_last_layers" not in saved(fresh)


@pytest.mark.parametrize(("kind", "magic"), [("png", "iVBOR"), ("JPG", "/9j/"), ("webp", "UklGR")])
def test_pictures_come_in_the_chosen_format(webui, kind: str, magic: str) -> None:
    webui.post("/sdapi/v1/options", {"samples_format": kind})
    assert webui.generate().json()["images"][0].startswith(magic)
    webui.post("/sdapi/v1/options", {"samples_format": "bmp"})
    assert webui.generate().json() == {"detail": "Invalid image format"}
    webui.post("/sdapi/v1/options", {"samples_format": "png"})


def test_saved_options_survive_a_restart(start, tmp_path) -> None:
    first = start(folder=tmp_path / "kept")
    choose(first, OIL)
    first.server.stop()
    assert selected(start(folder=tmp_path / "kept")) == OIL


def test_an_unknown_option_is_an_error_unless_it_changes_nothing(fresh) -> None:
    answer = fresh.post("/sdapi/v1/options", {"no_such_option": 1})
    expected = {"error": "KeyError", "detail": "", "body": "", "message": "'no_such_option'"}
    assert (answer.status_code, answer.json()) == (500, expected)
    assert fresh.post("/sdapi/v1/options", {"no_such_option": None}).status_code == 200


@pytest.mark.parametrize("name", ["nope.safetensors", "PHOTO", "phot", " photo.safetensors", "photo [deadbeef00]"])
def test_checkpoint_names_match_exactly(webui, name: str) -> None:
    before = selected(webui)
    answer = choose(webui, name)
    assert answer.status_code == 500
    assert answer.json()["message"] == f"model {name!r} not found"
    assert answer.json()["error"] == "RuntimeError"
    assert selected(webui) == before


def test_a_checkpoint_goes_by_five_names_and_the_posted_one_is_echoed(fresh) -> None:
    fresh.generate(override_settings={"sd_model_checkpoint": OIL})
    listed = {model["model_name"]: model for model in fresh.get("/sdapi/v1/sd-models").json()}["oil"]
    for name in (OIL, "oil", listed["title"], listed["hash"], listed["sha256"]):
        choose(fresh, PHOTO)
        assert choose(fresh, name).status_code == 200
        assert selected(fresh) == name
        assert fresh.info()["sd_model_name"] == "oil"


def test_choosing_loads_nothing_the_next_job_pays(fresh) -> None:
    fresh.generate()
    choose(fresh, OIL)
    told = fresh.get("/sdapi/v1/options").json()
    loads = fresh.server.engine.loader.loads
    assert told["sd_checkpoint_hash"] == fresh.server.engine.checkpoints.get(PHOTO).sha256
    assert fresh.info()["sd_model_name"] == "oil"
    assert fresh.server.engine.loader.loads == loads + 1
    fresh.generate()
    assert fresh.server.engine.loader.loads == loads + 1


def test_a_request_that_fails_midway_names_one_model_and_uses_another(fresh) -> None:
    fresh.generate()
    assert choose(fresh, OIL, no_such_option=1).status_code == 500
    assert selected(fresh) == OIL
    assert fresh.info()["sd_model_name"] == "photo"
    assert choose(fresh, OIL).status_code == 200, "nothing changes, so nothing is loaded"
    assert fresh.info()["sd_model_name"] == "photo"
    choose(fresh, INK)
    choose(fresh, OIL)
    assert fresh.info()["sd_model_name"] == "oil"


def test_null_selects_the_first_checkpoint(fresh) -> None:
    assert choose(fresh, None).status_code == 200
    assert selected(fresh) is None
    assert fresh.info()["sd_model_name"] == "ink"


def test_a_wrong_type_is_taken_and_poisons_jobs_and_answers_until_repaired(fresh) -> None:
    fresh.post("/sdapi/v1/options", {"CLIP_stop_at_last_layers": "two"})
    told = fresh.get("/sdapi/v1/options")
    assert told.status_code == 500
    assert told.json()["error"] == "ResponseValidationError"
    assert told.json()["body"]["CLIP_stop_at_last_layers"] == "two"
    assert told.json()["message"] == (
        "1 validation errors:\n  {'type': 'float_parsing', 'loc': ('response', 'CLIP_stop_at_last_layers'), "
        "'msg': 'Input should be a valid number, unable to parse string as a number', 'input': 'two', "
        "'url': 'https://errors.pydantic.dev/2.8/v/float_parsing'}\n"
    )
    failed = fresh.generate()
    assert failed.status_code == 500
    assert failed.json()["message"] == "invalid literal for int() with base 10: 'two'"
    fresh.post("/sdapi/v1/options", {"CLIP_stop_at_last_layers": 1})
    assert fresh.generate().status_code == 200


def test_a_list_is_no_request(webui) -> None:
    answer = webui.post("/sdapi/v1/options", [])
    (error,) = answer.json()["detail"]
    assert (answer.status_code, error["type"], error["loc"]) == (422, "dict_type", ["body"])


# -- overrides -----------------------------------------------------------------------------------------


def test_an_override_is_restored_but_for_keys_that_were_never_set(fresh) -> None:
    assert fresh.info(override_settings={"CLIP_stop_at_last_layers": 2})["clip_skip"] == 2
    assert fresh.info()["clip_skip"] == 2, "it sticks"
    fresh.post("/sdapi/v1/options", {"show_progress_every_n_steps": 11})
    assert saved(fresh)["CLIP_stop_at_last_layers"] == 2, "and is saved by the next call"
    assert fresh.info(override_settings={"CLIP_stop_at_last_layers": 3})["clip_skip"] == 3
    assert fresh.info()["clip_skip"] == 2, "now there is something to go back to"


def test_an_overridden_checkpoint_is_restored_and_stays_in_memory(fresh) -> None:
    loader = fresh.server.engine.loader
    assert fresh.info(override_settings={"sd_model_checkpoint": OIL})["sd_model_name"] == "oil"
    assert selected(fresh) == PHOTO
    loads = loader.loads
    assert fresh.info(override_settings={"sd_model_checkpoint": OIL})["sd_model_name"] == "oil"
    assert loader.loads == loads, "the same one again loads once"
    assert fresh.info()["sd_model_name"] == "photo"
    fresh.generate(override_settings={"sd_model_checkpoint": OIL}, override_settings_restore_afterwards=False)
    assert selected(fresh) == OIL
    assert fresh.info()["sd_model_name"] == "oil"


def test_an_unknown_checkpoint_in_an_override_is_ignored(webui) -> None:
    assert webui.info(override_settings={"sd_model_checkpoint": "nope"})["sd_model_name"] == "photo"


def test_an_override_of_a_wrong_type_fails_and_is_restored(fresh) -> None:
    fresh.post("/sdapi/v1/options", {"eta_noise_seed_delta": 5})
    answer = fresh.generate(override_settings={"eta_noise_seed_delta": "abc"})
    assert answer.json()["message"] == "unsupported operand type(s) for +: 'int' and 'str'"
    assert fresh.generate().status_code == 200


def test_no_request_overrides_where_files_go(fresh, tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    fresh.generate(override_settings={"outdir_txt2img_samples": str(elsewhere)}, save_images=True)
    assert not elsewhere.exists()
    assert fresh.server.options.outdir_txt2img_samples == "outputs/txt2img-images"


def test_another_checkpoint_chosen_midway_changes_the_pictures_and_not_what_is_said(fresh) -> None:
    """The chimera: every infotext names the first model, the second picture is of the other."""
    fresh.server.steps.hold()
    job = fresh.in_background(n_iter=2)
    assert fresh.server.steps.wait_for(0, 60)
    choose(fresh, OIL)
    fresh.server.steps.release()
    mixed = job.result(60).json()
    assert [text.split("Model: ")[1].split(",")[0] for text in json.loads(mixed["info"])["infotexts"]] == [
        "photo",
        "photo",
    ]

    def pixels(encoded: str) -> bytes:
        import base64
        import io

        from PIL import Image

        return Image.open(io.BytesIO(base64.b64decode(encoded))).tobytes()

    photo = fresh.generate(n_iter=2, override_settings={"sd_model_checkpoint": PHOTO}).json()["images"]
    oil = fresh.generate(n_iter=2, override_settings={"sd_model_checkpoint": OIL}).json()["images"]
    assert pixels(mixed["images"][0]) == pixels(photo[0])
    assert pixels(mixed["images"][1]) == pixels(oil[1])


# -- the registry by itself ----------------------------------------------------------------------------


def test_unknown_names_by_themselves(tmp_path) -> None:
    options = Options(tmp_path / "config.json")
    with pytest.raises(AttributeError, match="no option is called 'nope'"):
        _ = options.nope
    with pytest.raises(KeyError):
        options.set("nope", 1)
    assert options.set("samples_format", "webp")
    assert not options.set("samples_format", "webp")
