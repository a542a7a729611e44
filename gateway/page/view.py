"""What the address of the Pictures screen says: filters, page, and the picture that is shown large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from urllib.parse import urlencode

from catalog.index import Wanted


@dataclass(frozen=True)
class View:
    """What a screen's address says."""

    wanted: Wanted = field(default_factory=Wanted)
    page: int = 1
    picture: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> View:
        text = {name: query.get(name, "")[:500] for name in ("job", "checkpoint", "words", "day", "picture", "page")}
        page = int(text["page"]) if text["page"].isdecimal() and len(text["page"]) < 7 else 1
        star, in_bin = bool(query.get("star")), bool(query.get("bin"))
        wanted = Wanted(text["job"], text["checkpoint"], text["words"], text["day"], star, in_bin)
        return cls(wanted, max(1, page), text["picture"])

    @property
    def address(self) -> str:
        given = {name: 1 if value is True else value for name, value in asdict(self.wanted).items() if value}
        given |= {"page": self.page} if self.page > 1 else {}
        given |= {"picture": self.picture} if self.picture else {}
        return "/gallery" + (f"?{urlencode(given)}" if given else "")
