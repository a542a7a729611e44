"""docs/night.md says what the tests measured."""

from tests.night import report


def test_the_page_is_what_the_results_say() -> None:
    assert report.PAGE.read_text() == report.page(report.read()), "python -m tests.night.report"


def test_a_cell_says_what_does_not_hold_and_what_was_lost() -> None:
    held = {"ended": "Completed", "lost": 0, "painted twice": 1, "seconds": 2.5, "holds": True}
    assert report._cell(held) == "Completed, 1 twice, 2.5 s"
    assert report._cell({"ended": "Crashed"}) == "**✗** Crashed"
    assert report._cell(held | {"lost": 2, "holds": False}) == "**✗** Completed, 1 twice, 2.5 s, 2 lost"
