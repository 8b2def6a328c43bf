"""Work in a thread: its progress, its end, and how it is stopped."""

from __future__ import annotations

import threading

from backbones.errors import ImageError
from indexer.progress import Stage
from ui.app.jobs import Job, duration_text


def test_a_job_tells_its_progress_and_ends_with_an_error_in_a_line() -> None:
    def work(on_progress: object) -> str:
        raise ImageError("torn.png:\nthe image is damaged")

    job = Job("work", work)
    job.wait(10)
    assert job.error == "torn.png: the image is damaged"
    assert not job.running


def test_a_stopped_job_ends_at_its_next_step() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(on_progress: object) -> str:
        assert callable(on_progress)
        on_progress("first", 1, 3)
        begun.set()
        assert go_on.wait(10)
        on_progress("first", 2, 3)
        return "never"

    job = Job("work", work)
    assert begun.wait(10)
    assert (job.stage, job.done, job.total) == ("first", 1, 3)
    job.stop()
    go_on.set()
    job.wait(10)
    assert job.outcome == "stopped"


def test_a_running_job_says_how_far_it_is_and_what_is_still_to_come() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(on_progress: object) -> str:
        assert callable(on_progress)
        on_progress("coreset", 0, 19866)
        begun.set()
        assert go_on.wait(10)
        return "done"

    stages = {"coreset": Stage(150.0, "patches"), "writing": Stage(90.0, "writing")}
    job = Job("work", work, stages)
    assert begun.wait(10)
    assert job.progress == "coreset: 0 of 19,866, about 4 min left"
    go_on.set()
    job.wait(10)


def test_a_duration_is_told_in_the_unit_people_would_use() -> None:
    assert [duration_text(s) for s in (0.2, 12.4, 89, 200, 7000)] == [
        "1 s", "12 s", "89 s", "3 min", "2 h"
    ]  # fmt: skip
