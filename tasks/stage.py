"""A stage of a job: all that Darkroom knows of it, in one object in the stage's own file.

The job model has a field for each stage, with its form and its Stage; preflight, order, progress, retries and the
batch follow from these fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from prefect import Task, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from gpu.request import Request
from gpu.sender import Answer, Sender
from pictures.checks import Painted, check_loaded, checked
from pictures.kept import kept
from store.picture import LARGEST_SIDE, Picture
from tasks.inventory import Inventory
from tasks.paint import PAINTING, write_patiently
from tasks.publish import Published
from tasks.sampling import Sampling, fixed_fields
from tasks.status import this_run
from webui.errors import Skipped
from webui.models import Checkpoint, ImageInfo

F = TypeVar("F")
Size = tuple[int, int]


@dataclass(frozen=True)
class Settings:
    """What a stage paints with and hands on to the next: sampling settings, the checkpoint by the name that the job
    gives, and width and height in pixels of its pictures (None: not known before the files are opened)."""

    sampling: Sampling
    checkpoint: str
    size: Size | None = None


class Job(Protocol):
    """What a stage knows of the job that it is part of."""

    name: str
    checkpoint: str
    vae: list[str]
    images: int
    batch_size: int
    init_images: list[str]
    templates: dict[str, str]
    cell: dict[str, str]

    @classmethod
    def stages(cls) -> tuple[Stage[Any], ...]: ...

    @property
    def total(self) -> int: ...

    @property
    def title(self) -> str: ...

    @property
    def files(self) -> list[str]: ...

    def steps(self, size: Size | None = None) -> list[Step[Any]]: ...


@dataclass(frozen=True)
class Step(Generic[F]):
    """A stage of one job: the form as filled in, and the settings that come of it and the stages before."""

    stage: Stage[F]
    form: F
    settings: Settings

    @property
    def checkpoint(self) -> str | None:
        """The name of the checkpoint that paints it; None where none is needed."""
        return (self.settings.checkpoint or None) if self.stage.needs_checkpoint else None


@dataclass
class Item:
    """One job on its way through its stages.

    Attributes:
        key: what tells the job from the run's other ones, and from itself with other settings.
        checkpoints: the WebUI's own, by the names that the job gives.
        pictures: how far each picture is that is not published yet.
        published: the pictures that are in the gallery, by their index.
        error: why the job goes no further.
    """

    job: Job
    steps: list[Step[Any]]
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    forge: bool = True
    pictures: list[Picture] = field(default_factory=list)
    key: str = ""
    published: dict[int, Published] = field(default_factory=dict)
    error: Exception | None = None
    _kept: dict[str, list[Picture]] = field(default_factory=dict)

    def step(self, stage: Stage[Any]) -> Step[Any] | None:
        """The job's step of ``stage``; None where it has none, or where it failed before."""
        return next((step for step in self.steps if step.stage is stage and self.error is None), None)

    def requests(self, step: Step[Any]) -> list[Request]:
        """What a step asks of the WebUI for the pictures that are not published yet."""
        if len(self.published) == self.job.total:
            return []
        requests = step.stage.requests(step, self)
        return [request for request in requests if not all(one in self.published for one in request.indexes)]

    def kept(self, request: Request) -> list[Picture]:
        """The request's pictures of an earlier attempt of this run; none where it has to be painted."""
        if request.digest not in self._kept:
            self._kept[request.digest] = kept(request, str(this_run().id))
        return self._kept[request.digest]

    def advance(self, pictures: list[Picture]) -> None:
        """These pictures have come a stage further."""
        by_index = {one.index: one for one in [*self.pictures, *pictures] if one.index not in self.published}
        self.pictures = [by_index[index] for index in sorted(by_index)]

    def skip(self, request: Request) -> None:
        """These pictures go no further."""
        self.pictures = [one for one in self.pictures if one.index not in request.indexes]

    def checkpoint(self, step: Step[Any]) -> Checkpoint | None:
        """The checkpoint that paints ``step``; None where none is needed."""
        return self.checkpoints[step.checkpoint] if step.checkpoint else None

    def payload(self, step: Step[Any]) -> dict[str, Any]:
        """What every request of a step that samples holds: the sampling settings and what else must be named."""
        sampling, checkpoint = step.settings.sampling, self.checkpoints[step.settings.checkpoint]
        return sampling.payload() | fixed_fields(checkpoint, self.job.vae, sampling.clip_skip, forge=self.forge)


class Stage(ABC, Generic[F]):
    """What a job's form for one stage means; ``F`` is the form.

    Attributes:
        name: how the Prefect UI, file names and the progress call it.
        endpoint: the WebUI's route that paints it.
        needs_checkpoint: whether a checkpoint paints it.
        files: the form's fields that name picture files.
        task: the Prefect task that paints one request, with its retries and its result.
    """

    name: ClassVar[str]
    endpoint: ClassVar[Literal["txt2img", "img2img", "extra-single-image"]]
    needs_checkpoint: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.task: Task[[Request, Sender], Any] = task(name=self.name, **PAINTING)(self._paint_or_skip)

    # -- what each stage says ------------------------------------------------------------------------------

    @abstractmethod
    def settings(self, form: F, before: Settings) -> Settings:
        """What the stage paints with and hands on, given what the stage before it hands on.

        Raises:
            ValueError: the pictures would have a size that the stage can't take or make; says what to change.
        """

    def fields(self, step: Step[F], item: Item, number: int, picture: Picture) -> dict[str, Any]:
        """The fields of the request for the ``number``-th picture (from 0): its payload, and where they change the
        size and the seeds. A stage that starts from no pictures has its own :meth:`requests` instead.

        Raises:
            ValueError: see :meth:`settings`.
        """
        raise NotImplementedError(f"the stage {self.name} has neither fields nor requests")

    def look_up(self, step: Step[F], inventory: Inventory) -> None:
        """Look up every name of the form at the WebUI; what it lacks goes to ``inventory.problems``."""

    def weight(self, step: Step[F]) -> float:
        """The work of one picture, in sampling steps."""
        return step.settings.sampling.steps

    def judge(self, request: Request, info: ImageInfo, painted: Painted, infotext: str) -> tuple[str, str]:
        """What only this stage can say of a picture; its model, size, seed and content were checked before.

        Args:
            infotext: as the WebUI answered it.

        Returns:
            what a person should know of it, such as "nothing found" (mostly nothing), and the infotext that tells how
            the picture came to be.

        Raises:
            WrongPicture: it is not what was asked for.
        """
        return "", infotext

    def keep(self, answer: Answer) -> None:
        """Keep what a stage needs of an answer beside its pictures; before they are written."""

    # -- what is the same for all --------------------------------------------------------------------------

    def paint(self, request: Request, sender: Sender) -> list[Picture]:
        """Have ``request`` painted, checked and written.

        Raises:
            WebUIError: it failed, or what came back is not what was asked.
        """
        answer = sender.answer(request)
        info, images = answer.generation.info, checked(request, answer.generation)
        check_loaded(request, info, answer.loaded, sender.client)
        self.keep(answer)
        pictures = []
        for number, painted in enumerate(images):
            answered = info.infotexts[number] if number < len(info.infotexts) else ""
            note, text = self.judge(request, info, painted, answered)
            picture = write_patiently(answer, number, painted, infotext=text, note=note)
            told = f" ({picture.note})" if picture.note else ""
            get_run_logger().info("%s in %.1f s: %s%s", request.title, answer.seconds, picture.path, told)
            pictures.append(picture)
        return pictures

    def _paint_or_skip(self, request: Request, sender: Sender) -> list[Picture] | State[None]:
        """As :meth:`paint`; where somebody skipped it, a state of that name, for task run and caller."""
        try:
            return self.paint(request, sender)
        except Skipped as error:
            get_run_logger().warning("%s", error)
            return Completed(name="Skipped", message=str(error))

    def requests(self, step: Step[F], item: Item) -> list[Request]:
        """What the stage asks of the WebUI: one request for each of the job's pictures under way."""
        same = {"stage": self.name, "endpoint": self.endpoint, "of": item.job.total}
        same["checkpoint"] = item.checkpoint(step)
        requests = []
        for picture in item.pictures:
            own = {"first": picture.index, "seeds": (picture.seed,), "size": (picture.width, picture.height)}
            own["init"] = picture
            requests.append(Request(**same | own | self.fields(step, item, picture.index - 1, picture)))
        return requests


def bounded(size: Size, what: str) -> Size:
    """``size``, when it is not too large.

    Raises:
        ValueError: a side is longer than 8192 pixels; ``what`` says of what.
    """
    if max(size) > LARGEST_SIDE:
        raise ValueError(
            f"{what} would make {size[0]}×{size[1]}: at most {LARGEST_SIDE} pixels a side; give a smaller factor"
        )
    return size
