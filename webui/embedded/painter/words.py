"""What a prompt asks for: concepts, each with its colour. Other words mean nothing here, yet change the picture."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .pen import Colour

# concept: the words that ask for it, in the singular; a word may ask for several concepts
_WORDS = {
    "day": "day noon midday sunny afternoon bright",
    "dawn": "dawn sunrise morning pastel",
    "dusk": "dusk sunset evening twilight golden",
    "night": "night midnight moonlit moonlight starry dark neon cyberpunk",
    "grey": "storm stormy rain rainy overcast gloomy fog foggy mist misty cloudy",
    "sea": "sea ocean beach coast lake river water harbor harbour shore bay island",
    "city": "city skyline street town skyscraper metropolis tokyo cyberpunk",
    "meadow": "meadow field garden grass hill countryside landscape park pasture prairie",
    "mountain": "mountain alp peak fjord cliff valley",
    "forest": "forest wood woodland jungle taiga",
    "desert": "desert dune sand sahara",
    "castle": "castle fortress palace tower",
    "boat": "boat sailboat ship yacht sailing sail",
    "tree": "tree fir pine oak",
    "flower": "flower rose poppy poppie tulip lavender daisy daisie sunflower blossom wildflower",
    "cat": "cat kitten kitty",
    "face": "portrait face woman man person girl boy lady guy people human selfie king queen keeper sailor",
    "man": "man boy guy king keeper sailor",
    "shirt": "shirt dress sweater jacket coat",
    **{word: word for word in ("lighthouse", "hair", "eyes")},
}
_COLOURS: dict[str, Colour] = {
    "red": (205, 30, 32), "orange": (242, 130, 24), "yellow": (250, 208, 40), "gold": (222, 168, 50),
    "green": (60, 150, 60), "teal": (20, 140, 140), "blue": (40, 84, 200), "purple": (128, 50, 170),
    "pink": (244, 132, 172), "brown": (122, 76, 42), "black": (34, 32, 38), "white": (244, 242, 236),
    "grey": (140, 142, 146), "gray": (140, 142, 146), "blonde": (222, 182, 100),
}  # fmt: skip
_SMALL_WORDS = re.compile("an?|the|of|[io]n|at|by|with|and|or|to|over|under|near|from")
_HOMES = {"lighthouse": "sea", "boat": "sea", "flower": "meadow"}  # where a thing is when no place is named
TIMES = ("day", "dawn", "dusk", "night", "grey")
PLACES = ("sea", "city", "meadow", "mountain", "forest", "desert")


@dataclass
class Asked:
    colours: dict[str, Colour | None] = field(default_factory=dict)  # by concept
    many: set[str] = field(default_factory=set)  # asked for in the plural
    banned: set[str] = field(default_factory=set)
    mood: tuple[str, ...] = ()  # the words that mean nothing

    def pick(self, choices: Sequence[str], usual: Sequence[str], chance: float) -> str:
        """What was asked for among `choices`, else one of the `usual` ones that nobody forbade."""
        asked = [choice for choice in choices if choice in self.colours]
        allowed = [choice for choice in usual if choice not in self.banned] or usual
        return asked[0] if asked else allowed[int(chance * len(allowed) * 0.9999)]


def understand(prompt: str, negative_prompt: str) -> Asked:
    unwanted = set(re.findall("[a-z]+", negative_prompt.lower()))
    asked = Asked(banned={concept for word in unwanted for concept in _concepts(word)})
    colour = None
    for word in re.findall("[a-z]+", prompt.lower()):
        if word in _COLOURS:
            colour = colour if word in unwanted else _COLOURS[word]
        elif concepts := _concepts(word):
            for concept in concepts.keys() - asked.banned:
                asked.colours[concept] = colour or asked.colours.get(concept)
                asked.many |= {concept} if concepts[concept] != word else set()
            colour = None
        elif not _SMALL_WORDS.fullmatch(word):
            asked.mood += (word,)
    if not any(place in asked.colours for place in PLACES):
        homes = {_HOMES[thing] for thing in asked.colours if thing in _HOMES}
        asked.colours |= dict.fromkeys(homes - asked.banned)
    return asked


def _concepts(word: str) -> dict[str, str]:
    """The concepts that a word asks for, each with the word's singular."""
    forms = (word, word.removesuffix("s"), word.removesuffix("es"))
    return {concept: form for form in reversed(forms) for concept, words in _WORDS.items() if form in words.split()}
