"""Blocks as they are saved in Prefect, whose form stores any text."""

from __future__ import annotations

from typing import TypeVar

from prefect.blocks.core import Block
from pydantic import ValidationError

DEFAULT = "default"  # the name of the block that is used where none is chosen
Kind = TypeVar("Kind", bound=Block)


def load_default(kind: type[Kind], instead: str) -> Kind | None:
    """The block ``default`` of a kind; None: there is none.

    Raises:
        ValueError: it is there, but not valid. Its content is not repeated; ``instead`` says what writes it anew.
    """
    try:
        return kind.load(DEFAULT)  # type: ignore[return-value]  # Prefect types it as awaitable, too
    except ValueError:
        return None
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        problems = "; ".join(one["msg"] for one in error.__cause__.errors())  # without what was given
        said = f"The block {kind.get_block_type_slug()}/{DEFAULT} is not valid: {problems}. "
        raise ValueError(f"{said}Correct it in the Prefect UI (Blocks), or {instead}") from None
