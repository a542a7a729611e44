"""What a retry must find as it was."""

from __future__ import annotations

from flows.inputs import freeze_inputs
from flows.job import GenerationJob

JOBS = [
    GenerationJob.model_validate({"checkpoint": "photo", "txt2img": {"prompt": "a boat", "seed": seed}, "images": 4})
    for seed in (-1, -1, 7)
]


def seeds(run: str) -> list[int]:
    return [job.txt2img.seed for job in freeze_inputs(JOBS, run) if job.txt2img]


def test_a_retry_draws_the_same_seeds_another_run_others() -> None:
    first = seeds("0123")
    assert first == seeds("0123")
    assert first[:2] != seeds("4567")[:2]


def test_each_job_of_a_batch_has_a_seed_of_its_own_and_a_given_one_stays() -> None:
    one, other, given = seeds("0123")
    assert one != other
    assert given == 7
    assert min(one, other) >= 0


def test_a_retry_after_an_upgrade_draws_the_seeds_of_0_1_0() -> None:
    from_file = GenerationJob.model_validate({"checkpoint": "x", "init_images": ["store:a.png"], "img2img": {}})
    both = GenerationJob.model_validate({"checkpoint": "x", "txt2img": {"prompt": "x"}, "img2img": {"seed": -1}})
    first, second = freeze_inputs([from_file, both], "0123")
    assert first.img2img and second.txt2img and second.img2img
    assert (first.img2img.seed, second.txt2img.seed, second.img2img.seed) == (64793221, 440124535, 3498114744)
