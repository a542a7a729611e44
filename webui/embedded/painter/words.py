"""What a prompt asks for: concepts, each with its colour, and a mood for the words nobody knows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

Colour = tuple[int, int, int]

# concept: the words that ask for it, in the singular; a word may ask for several concepts
_WORDS = {
    "day": "day noon midday sunny afternoon bright",
    "dawn": "dawn sunrise morning pastel",
    "dusk": "dusk sunset evening twilight golden",
    "night": "night midnight moonlit moonlight starry dark neon cyberpunk",
    "grey": "storm stormy rain rainy overcast gloomy fog foggy mist misty cloudy",
    "snow": "snow snowy winter frozen ice arctic christmas",
    "cloud": "cloud cloudy",
    "sea": "sea ocean beach coast lake river water harbor harbour shore bay island",
    "city": "city skyline street town skyscraper metropolis tokyo cyberpunk",
    "meadow": "meadow field garden grass hill countryside landscape park pasture prairie",
    "mountain": "mountain alp peak fjord cliff valley",
    "forest": "forest wood woodland jungle taiga",
    "desert": "desert dune sand sahara",
    "castle": "castle fortress palace tower",
    "house": "house cabin cottage hut barn farmhouse village",
    "lighthouse": "lighthouse",
    "tree": "tree fir pine oak",
    "boat": "boat sailboat ship yacht sailing sail",
    "balloon": "balloon",
    "bird": "bird gull seagull",
    "flower": "flower rose poppy poppie tulip lavender daisy daisie sunflower blossom wildflower",
    "dog": "dog puppy puppie",
    "cat": "cat kitten kitty",
    "face": "portrait face woman man person girl boy lady guy people human selfie king queen keeper sailor",
    "woman": "woman girl lady queen",
    "man": "man boy guy king keeper sailor beard bearded",
    "beard": "beard bearded keeper sailor",
    "old": "old elderly grandmother grandfather",
    "hair": "hair",
    "eyes": "eye",
    "shirt": "shirt dress sweater jacket coat",
}
_COLOURS: dict[str, Colour] = {
    "red": (205, 30, 32), "crimson": (170, 16, 40), "orange": (242, 130, 24), "yellow": (250, 208, 40),
    "gold": (222, 168, 50), "green": (60, 150, 60), "teal": (20, 140, 140), "turquoise": (50, 195, 190),
    "blue": (40, 84, 200), "purple": (128, 50, 170), "violet": (142, 80, 210), "pink": (244, 132, 172),
    "brown": (122, 76, 42), "black": (34, 32, 38), "white": (244, 242, 236), "gray": (140, 142, 146),
    "grey": (140, 142, 146), "blonde": (222, 182, 100), "silver": (196, 200, 208),
}  # fmt: skip
_SMALL_WORDS = re.compile("an?|the|of|[io]n|at|by|with|and|or|to|over|under|near|from")
TIMES = ("day", "dawn", "dusk", "night", "grey")
PLACES = ("sea", "city", "meadow", "mountain", "forest", "desert")
_HOMES = {"lighthouse": "sea", "boat": "sea", "flower": "meadow"}  # where a thing is when no place is named


@dataclass
class Asked:
    concepts: dict[str, Colour | None] = field(default_factory=dict)  # each with its colour
    many: set[str] = field(default_factory=set)  # asked for in the plural
    banned: set[str] = field(default_factory=set)
    mood: tuple[str, ...] = ()  # the words that mean nothing here still change the picture
    tint: Colour | None = None  # a colour of nothing in particular

    def __contains__(self, concept: str) -> bool:
        return concept in self.concepts

    def pick(self, choices: Sequence[str], usual: Sequence[str], chance: float) -> str:
        """What was asked for among `choices`, else one of the `usual` ones that nobody forbade."""
        asked = [choice for choice in choices if choice in self]
        allowed = [choice for choice in usual if choice not in self.banned] or usual
        return asked[0] if asked else allowed[min(int(chance * len(allowed)), len(allowed) - 1)]


def understand(prompt: str, negative_prompt: str) -> Asked:
    unwanted = set(re.findall("[a-z]+", negative_prompt.lower()))
    asked = Asked(banned={concept for word in unwanted for concept in _concepts(word)})
    colour: Colour | None = None
    for word in re.findall("[a-z]+", prompt.lower()):
        concepts = _concepts(word)
        if word in _COLOURS:
            if word not in unwanted:
                colour = asked.tint = _COLOURS[word]
        elif concepts:
            for concept in concepts.keys() - asked.banned:
                asked.concepts[concept] = colour or asked.concepts.get(concept)
                if concepts[concept] != word:
                    asked.many.add(concept)
            if colour:
                colour = asked.tint = None
        elif not _SMALL_WORDS.fullmatch(word):
            asked.mood += (word,)
    if not any(place in asked for place in (*PLACES, "face")):
        homes = {_HOMES[thing] for thing in asked.concepts if thing in _HOMES}
        asked.concepts |= dict.fromkeys(homes - asked.banned)
    return asked


def _concepts(word: str) -> dict[str, str]:
    """The concepts that a word asks for, each with the word's singular."""
    for singular in (word, word.removesuffix("s"), word.removesuffix("es")):
        found = {concept: singular for concept, words in _WORDS.items() if singular in words.split()}
        if found:
            return found
    return {}
