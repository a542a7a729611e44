"""What a job makes of its request: seeds, batches, hires fix, inpainting, names, files."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw
from talking import PATIENCE

from webui import infotext


def decoded(encoded: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def encoded(image: Image.Image) -> str:
    return base64.b64encode(infotext.to_png(image)).decode()


@pytest.fixture(scope="module")
def init() -> str:
    return encoded(Image.radial_gradient("L").resize((64, 64)).convert("RGB"))


def test_same_request_same_bytes_another_seed_another_picture(webui) -> None:
    first, again, other = (webui.generate(seed=seed).json()["images"] for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_a_batch_and_a_series_count_the_seed_up(webui) -> None:
    answer = webui.generate(batch_size=2, n_iter=2, seed=100).json()
    info = json.loads(answer["info"])
    assert info["all_seeds"] == [100, 101, 102, 103]
    assert [infotext.parse(text).settings["Seed"] for text in info["infotexts"]] == ["100", "101", "102", "103"]
    assert answer["images"][2] == webui.generate(seed=102).json()["images"][0]
    texts = [infotext.read(decoded(image)) for image in answer["images"]]
    assert texts == info["infotexts"]


def test_a_variation_keeps_the_seed_and_counts_the_variation(webui) -> None:
    info = webui.info(batch_size=2, seed=7, subseed=50, subseed_strength=0.5)
    assert (info["all_seeds"], info["all_subseeds"]) == ([7, 7], [50, 51])
    assert "Variation seed: 50, Variation seed strength: 0.5" in info["infotexts"][0]


@pytest.mark.parametrize("seed", [-1, None])
def test_no_seed_draws_one(webui, seed) -> None:
    drawn = {webui.info(seed=seed, steps=1)["seed"] for _ in range(3)}
    assert len(drawn) == 3
    assert all(0 <= one < 2**32 for one in drawn)


def test_the_infotext(webui) -> None:
    (text,) = webui.info(negative_prompt="dog", styles=["Golden hour", "no such style"])["infotexts"]
    parsed = infotext.parse(text)
    assert parsed.prompt == "a cat, golden hour, warm light"
    assert parsed.negative_prompt == "dog, night"
    assert list(parsed.settings) == [
        "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model", "Version",
    ]  # fmt: skip
    assert parsed.settings["Size"] == "64x64"


@pytest.mark.parametrize(
    ("asked", "scheduler", "sampler", "used"),
    [
        ("Euler", None, "Euler", "Automatic"),
        ("NoSuch", None, "DPM++ 2M", "Karras"),
        ("euler a", None, "DPM++ 2M", "Karras"),
        ("k_euler", None, "DPM++ 2M", "Karras"),
        ("DPM++ 2M Karras", None, "DPM++ 2M", "Karras"),
        ("Euler Karras", None, "Euler", "Karras"),
        ("Euler", "karras", "Euler", "Karras"),
        ("Euler", "SGM Uniform", "Euler", "SGM Uniform"),
        ("Euler", "no such", "Euler", "Automatic"),
        (None, None, "Euler", "Automatic"),
    ],
)
def test_sampler_names(webui, asked, scheduler, sampler, used) -> None:
    info = webui.info(sampler_name=asked, scheduler=scheduler, steps=1)
    settings = infotext.parse(info["infotexts"][0]).settings
    assert (settings["Sampler"], settings["Schedule type"]) == (sampler, used)


def test_sizes_are_cut_to_cells_of_eight_and_said_as_asked(webui) -> None:
    answer = webui.generate(width=65, height=100).json()
    assert decoded(answer["images"][0]).size == (64, 96)
    assert "Size: 65x100" in json.loads(answer["info"])["infotexts"][0]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": 0}, "ZeroDivisionError", "integer division or modulo by zero"),
        ({"steps": -3}, "RuntimeError", "number of steps must be non-negative"),
        ({"width": -64}, "RuntimeError", "Trying to create tensor with negative dimension -8: [4, 8, -8]"),
        ({"width": 7}, "RuntimeError", "Calculated padded input size per channel: (10 x 2)."),
        ({"height": 0}, "RuntimeError", "Calculated padded input size per channel: (2 x 10)."),
        ({"width": 65536, "height": 65536}, "RuntimeError", "you tried to allocate 1073741824 bytes"),
        ({"n_iter": 0}, "IndexError", "list index out of range"),
        ({"batch_size": 0}, "IndexError", "list index out of range"),
        ({"prompt": None}, "AssertionError", ""),
        ({"sampler_name": "UniPC", "steps": 2}, "AssertionError", "UniPC order must be < sampling steps"),
        ({"refiner_checkpoint": "nope"}, "Exception", "Could not find checkpoint with name nope"),
        ({"script_name": "x/y/z plot"}, "TypeError", "Script.run() missing 18 required positional arguments: 'x_type'"),
    ],
)  # fmt: skip
def test_mistakes_are_found_where_a_real_one_finds_them(webui, changes, error, message) -> None:
    answer = webui.generate(**changes)
    body = answer.json()
    assert (answer.status_code, body["error"], body["detail"], body["body"]) == (500, error, "", "")
    assert message in body["message"]
    state = webui.progress()["state"]
    assert (state["job"], state["job_count"], state["job_no"]) == ("", 0, 0)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"script_name": "NoSuch"}, "Script 'NoSuch' not found"),
        ({"alwayson_scripts": {"NoSuch": {"args": []}}}, "Script 'NoSuch' not found"),
        (
            {"alwayson_scripts": {"x/y/z plot": {"args": []}}},
            "Cannot have a selectable script in the always on scripts params",
        ),
    ],
)
def test_unknown_scripts_never_reach_the_queue(webui, changes, detail) -> None:
    begun = webui.server.job_queue.begun
    answer = webui.generate(**changes)
    assert (answer.status_code, answer.json()) == (422, {"detail": detail})
    assert webui.server.job_queue.begun == begun


def test_listed_scripts_take_their_arguments_and_do_nothing(webui) -> None:
    asked = {"ControlNet": {"args": [{"enabled": True}]}, "refiner": {"args": []}, "Seed": {}}
    plain = webui.generate().json()["images"]
    assert webui.generate(alwayson_scripts=asked).json()["images"] == plain


def test_wrong_types_in_the_request(webui) -> None:
    answer = webui.generate(width="wide", seed=1.5)
    assert answer.status_code == 422
    assert {(error["type"], error["loc"][-1]) for error in answer.json()["detail"]} == {
        ("int_parsing", "width"),
        ("int_from_float", "seed"),
    }
    assert all(error["url"].startswith("https://errors.pydantic.dev/2.8/v/") for error in answer.json()["detail"])
    assert webui.generate(width="64").status_code == 200


def test_an_unknown_field_is_ignored(webui) -> None:
    assert webui.generate(stepz=3).status_code == 200


# -- hires fix -----------------------------------------------------------------------------------------

HIRES = {
    "enable_hr": True,
    "hr_scale": 2,
    "hr_upscaler": "Latent",
    "denoising_strength": 0.5,
    "hr_additional_modules": ["Use same choices"],
}


def test_hires_fix_paints_twice(webui) -> None:
    server = webui.server
    server.steps.hold()
    job = webui.in_background(**HIRES, n_iter=2, hr_second_pass_steps=3)
    seen = []
    for number, steps in enumerate((4, 3, 4, 3), 1):
        server.steps.advance()
        assert server.steps.wait_for(1, PATIENCE, in_pass=number)
        seen.append(webui.progress())
        server.steps.advance(steps - 1)
    server.steps.release()
    answer = job.result(PATIENCE).json()
    assert [told["state"]["job_count"] for told in seen] == [4] * 4
    assert [told["progress"] for told in seen] == pytest.approx([0.01, 0.26, 0.51, 0.76])
    assert [told["state"]["sampling_steps"] for told in seen] == [4, 3, 4, 3]
    assert [decoded(image).size for image in answer["images"]] == [(128, 128)] * 2
    settings = infotext.parse(json.loads(answer["info"])["infotexts"][0]).settings
    assert settings["Hires upscale"] == "2.0"
    assert settings["Hires steps"] == "3"
    assert settings["Hires upscaler"] == "Latent"
    assert settings["Denoising strength"] == "0.5"


def test_hires_fix_to_a_size_with_a_checkpoint_of_its_own(webui) -> None:
    answer = webui.generate(**HIRES, hr_resize_x=96, hr_checkpoint_name="oil")
    info = json.loads(answer.json()["info"])
    assert decoded(answer.json()["images"][0]).size == (96, 96)
    assert info["extra_generation_params"]["Hires checkpoint"].startswith("oil.safetensors")
    assert info["sd_model_name"] == "photo"
    assert webui.info()["sd_model_name"] == "photo"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hr_additional_modules": None}, "argument of type 'NoneType' is not iterable"),
        ({"hr_checkpoint_name": "nope"}, "Could not find checkpoint with name nope"),
        ({"hr_upscaler": "nope"}, "could not find upscaler named nope"),
    ],
)
def test_hires_fix_and_its_mistakes(webui, changes, message) -> None:
    answer = webui.generate(**{**HIRES, **changes})
    assert (answer.status_code, answer.json()["message"]) == (500, message)


# -- img2img -------------------------------------------------------------------------------------------


def test_img2img_takes_a_share_of_the_steps(webui, init) -> None:
    answer = webui.generate("img2img", init_images=[init], denoising_strength=0.5, steps=8).json()
    assert webui.progress()["state"]["sampling_steps"] == 5
    assert "Denoising strength: 0.5" in json.loads(answer["info"])["infotexts"][0]
    assert answer["parameters"]["init_images"] is None
    kept = webui.generate("img2img", init_images=[init], include_init_images=True).json()
    assert kept["parameters"]["init_images"] == [init]


def test_strength_zero_keeps_the_picture(webui, init) -> None:
    answer = webui.generate("img2img", init_images=[init], denoising_strength=0).json()
    difference = ImageChops.difference(decoded(answer["images"][0]), decoded(init))
    assert np.asarray(difference).max() <= 1


def test_without_a_picture(webui) -> None:
    missing = webui.generate("img2img")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Init image not found"})
    empty = webui.generate("img2img", init_images=[])
    assert (empty.status_code, empty.json()["error"]) == (500, "IndexError")


@pytest.mark.parametrize(
    ("picture", "detail"),
    [
        ("/etc/passwd", "Invalid encoded image"),
        ("http://127.0.0.1:1/x.png", "Request to local resource not allowed"),
    ],
)
def test_pictures_that_are_none(webui, picture, detail) -> None:
    answer = webui.generate("img2img", init_images=[picture])
    assert (answer.status_code, answer.json()) == (500, {"detail": detail})


@pytest.mark.parametrize("only_masked", [True, False])
def test_a_mask_confines_the_change(webui, init, only_masked) -> None:
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle((8, 8, 31, 31), fill=255)
    answer = webui.generate(
        "img2img",
        init_images=[init],
        mask=encoded(mask),
        mask_blur=0,
        inpaint_full_res=only_masked,
        inpaint_full_res_padding=4,
        inpainting_fill=1,
        denoising_strength=0.9,
    ).json()
    before, after = decoded(init), decoded(answer["images"][0])
    changed = ImageChops.difference(before, after).convert("L").point(lambda value: 255 if value > 2 else 0)
    box = changed.getbbox()
    assert box
    assert box[0] >= 8 and box[1] >= 8 and box[2] <= 32 and box[3] <= 32
    said = json.loads(answer["info"])["extra_generation_params"]
    assert said.get("Inpaint area") == ("Only masked" if only_masked else None)


def test_an_inverted_mask_protects_what_is_white(webui, init) -> None:
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle((16, 16, 47, 47), fill=255)
    changes = {"mask": encoded(mask), "mask_blur": 0, "inpainting_mask_invert": 1, "inpaint_full_res": False}
    answer = webui.generate("img2img", init_images=[init], denoising_strength=0.9, **changes).json()
    middle = (16, 16, 48, 48)
    assert decoded(answer["images"][0]).crop(middle).tobytes() == decoded(init).crop(middle).tobytes()
    assert "Mask mode: Inpaint not masked" in json.loads(answer["info"])["infotexts"][0]


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_resize_modes_give_the_size_asked_for(webui, mode) -> None:
    wide = encoded(Image.linear_gradient("L").resize((96, 48)).convert("RGB"))
    answer = webui.generate("img2img", init_images=[wide], resize_mode=mode).json()
    assert decoded(answer["images"][0]).size == (64, 64)


# -- files and the rest --------------------------------------------------------------------------------


def test_saving_several_puts_a_grid_first(webui) -> None:
    answer = webui.generate(n_iter=2, save_images=True).json()
    info = json.loads(answer["info"])
    assert (len(answer["images"]), info["index_of_first_image"], len(info["infotexts"])) == (3, 1, 3)
    assert len(info["all_seeds"]) == 2
    assert decoded(answer["images"][0]).size[0] * decoded(answer["images"][0]).size[1] == 2 * 64 * 64
    kept = list((webui.server.folder / "outputs" / "txt2img-images").rglob("*.png"))
    assert sorted(infotext.parse(infotext.read(path) or "").settings["Seed"] for path in kept) == ["1", "2"]


def test_not_sending_pictures(webui) -> None:
    answer = webui.generate(send_images=False).json()
    assert answer["images"] == []
    assert json.loads(answer["info"])["infotexts"]


def test_loras_in_a_prompt_are_said_and_ignored(webui) -> None:
    plain, named = webui.generate().json(), webui.generate(prompt="a cat<lora:nobody:1>").json()
    assert decoded(plain["images"][0]).tobytes() == decoded(named["images"][0]).tobytes()
    assert json.loads(named["info"])["prompt"] == "a cat<lora:nobody:1>"


def test_png_info_reads_what_was_written(webui) -> None:
    (picture,) = webui.generate(negative_prompt="dog").json()["images"]
    for form in (picture, f"data:image/png;base64,{picture}"):
        told = webui.post("/sdapi/v1/png-info", {"image": form}).json()
        assert told["info"].startswith("a cat\nNegative prompt: dog\nSteps: 4")
        parameters = told["parameters"]
        assert (parameters["Seed"], parameters["Size-1"], parameters["Prompt"]) == ("1", "64", "a cat")
    bad = webui.post("/sdapi/v1/png-info", {"image": "!!"})
    assert (bad.status_code, bad.json()) == (500, {"detail": "Invalid encoded image"})


def test_upscaling(webui, init) -> None:
    def extras(**changes):
        return webui.post("/sdapi/v1/extra-single-image", {"image": init, "upscaler_1": "Lanczos", **changes})

    twice = extras(upscaling_resize=2).json()
    assert decoded(twice["image"]).size == (128, 128)
    assert twice["html_info"] == "<p>Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos</p>"
    fitted = extras(resize_mode=1, upscaling_resize_w=100, upscaling_resize_h=50).json()
    assert decoded(fitted["image"]).size == (100, 50)
    assert fitted["html_info"] == (
        "<p>Postprocess upscale to: 100x50, Postprocess crop to: 100x50, Postprocess upscaler: Lanczos</p>"
    )
    assert extras(upscaler_1="None").json()["html_info"] == "<p></p>"
    unknown = extras(upscaler_1="NoSuch")
    assert (unknown.status_code, unknown.json()["message"]) == (500, "could not find upscaler named NoSuch")
    assert extras(resize_mode=2).status_code == 422


def test_an_empty_request_is_a_whole_default_job(webui) -> None:
    answer = webui.post("/sdapi/v1/txt2img", {}).json()
    info = json.loads(answer["info"])
    assert (info["width"], info["height"], info["steps"], info["sampler_name"]) == (512, 512, 50, "Euler")
