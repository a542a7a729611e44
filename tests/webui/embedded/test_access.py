"""--api-auth: what it guards, what it leaves open, and the order of the checks (recorded)."""

import pytest

GUARDED = ["/sdapi/v1/progress", "/sdapi/v1/sd-models", "/sdapi/v1/options", "/sdapi/v1/memory"]
OPEN = [
    "/internal/ping",
    "/internal/pending-tasks",
    "/internal/sysinfo",
    "/sdapi/v1/loras",
    "/controlnet/model_list",
    "/adetailer/v1/version",
    "/openapi.json",
]


@pytest.fixture
def guarded(start):
    return start(api_auth="user:ze:bra,other:pass")


@pytest.mark.parametrize("path", GUARDED)
def test_the_core_routes_ask_who_it_is(guarded, path: str) -> None:
    nobody = guarded.get(path)
    assert (nobody.status_code, nobody.json()) == (401, {"detail": "Not authenticated"})
    assert nobody.headers["www-authenticate"] == "Basic"
    bearer = guarded.get(path, headers={"Authorization": "Bearer abc"})
    assert (bearer.status_code, bearer.json()) == (401, {"detail": "Not authenticated"})
    for wrong in (("user", "wrong"), ("nobody", "ze:bra")):
        answer = guarded.get(path, auth=wrong)
        assert (answer.status_code, answer.json()) == (401, {"detail": "Incorrect username or password"})
        assert answer.headers["www-authenticate"] == "Basic"
    assert guarded.get(path, auth=("user", "ze:bra")).status_code == 200
    assert guarded.get(path, auth=("other", "pass")).status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_the_others_stay_open(guarded, path: str) -> None:
    assert guarded.get(path).status_code == 200
    assert guarded.get(path, auth=("user", "wrong")).status_code == 200


def test_the_secret_is_told_nowhere(guarded) -> None:
    flags = guarded.get("/sdapi/v1/cmd-flags", auth=("user", "ze:bra"))
    assert "ze:bra" not in flags.text
    assert "ze:bra" not in guarded.get("/internal/sysinfo").text


def test_who_comes_before_what_and_where_before_who(guarded) -> None:
    assert guarded.post("/sdapi/v1/txt2img", {"prompt": 5}).status_code == 401
    assert guarded.post("/sdapi/v1/txt2img", {"prompt": 5}, auth=("user", "ze:bra")).status_code == 422
    assert guarded.get("/sdapi/v1/nope").status_code == 404
    assert guarded.get("/sdapi/v1/txt2img").status_code == 405


def test_progress_of_a_task_is_open_to_all(guarded) -> None:
    assert guarded.task("task(x)")["textinfo"] == "Waiting..."
