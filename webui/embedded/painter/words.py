"""What a prompt asks for: concepts, their colours, and a mood for the words nobody knows."""

import re
from dataclasses import dataclass, field

# concept: the words that ask for it (a plural is the same word)
_WORDS = {
    "night": "night midnight moonlit moonlight starry dark cyberpunk neon",
    "dusk": "dusk sunset evening twilight golden",
    "dawn": "dawn sunrise morning pastel",
    "grey": "storm stormy rain rainy rainfall overcast gloomy fog foggy mist misty cloudy",
    "day": "day noon midday sunny afternoon bright",
    "rain": "rain rainy rainfall storm stormy",
    "fog": "fog foggy mist misty haze",
    "snow": "snow snowy winter frozen ice arctic christmas",
    "autumn": "autumn fall october",
    "sea": "sea ocean beach coast lake river water harbor harbour shore bay island",
    "mountain": "mountain mountains alp peak fjord cliff valley",
    "forest": "forest wood woods woodland jungle taiga",
    "desert": "desert dune sand sahara",
    "city": "city skyline street town skyscraper cyberpunk tokyo metropolis",
    "meadow": "meadow field garden grass hill countryside landscape park pasture prairie",
    "space": "space planet galaxy nebula cosmos universe saturn",
    "room": "apple orange fruit table still kitchen",
    "fruit": "apple orange fruit peach",
    "flower": "flower rose poppy poppies tulip lavender daisy daisies sunflower blossom wildflower",
    "lighthouse": "lighthouse",
    "boat": "boat sailboat ship yacht sailing sail",
    "house": "house cabin cottage hut barn farmhouse village",
    "castle": "castle fortress palace tower",
    "tree": "tree oak pine fir",
    "balloon": "balloon",
    "cat": "cat kitten kitty",
    "dog": "dog puppy",
    "bird": "bird gull seagull",
    "aurora": "aurora borealis",
    "rainbow": "rainbow",
    "cloud": "cloud cloudy",
    "sun": "sun sunny",
    "moon": "moon",
    "face": "portrait face woman man person girl boy lady guy people human selfie king queen",
    "man": "man boy guy king beard bearded gentleman",
    "hair": "hair",
    "shirt": "shirt dress sweater jacket coat",
    "eyes": "eye eyes",
    "glasses": "glasses spectacles",
    "beard": "beard bearded",
    "old": "old elderly grandmother grandfather",
}
COLOURS = {
    "red": (205, 30, 32), "crimson": (170, 16, 40), "orange": (242, 130, 24), "yellow": (250, 208, 40),
    "gold": (222, 168, 50), "green": (60, 150, 60), "teal": (20, 140, 140), "turquoise": (50, 195, 190),
    "blue": (40, 84, 200), "purple": (128, 50, 170), "violet": (142, 80, 210), "pink": (244, 132, 172),
    "brown": (122, 76, 42), "black": (34, 32, 38), "white": (244, 242, 236), "grey": (140, 142, 146),
    "gray": (140, 142, 146), "blonde": (222, 182, 100), "silver": (196, 200, 208),
}  # fmt: skip
TIMES = ("day", "dawn", "dusk", "night", "grey")
PLACES = ("sea", "mountain", "forest", "desert", "city", "meadow", "space", "room")
THINGS = (
    "castle",
    "house",
    "lighthouse",
    "tree",
    "boat",
    "balloon",
    "bird",
    "flower",
    "fruit",
    "dog",
    "cat",
    "face",
)
# where a thing is at home when the prompt names no place
_HOME = {"lighthouse": "sea", "boat": "sea", "flower": "meadow"}

_CONCEPTS: dict[str, list[str]] = {}
for _concept, _words in _WORDS.items():
    for _word in _words.split():
        _CONCEPTS.setdefault(_word, []).append(_concept)
_NOISE = {"a", "an", "the", "of", "in", "on", "at", "by", "with", "and", "or", "to", "over", "under", "near", "from"}
Colour = tuple[int, int, int]


@dataclass
class Asked:
    concepts: set[str] = field(default_factory=set)
    many: set[str] = field(default_factory=set)  # asked for in the plural
    colours: dict[str, Colour] = field(default_factory=dict)  # by concept; "" for the picture as a whole
    mood: str = ""  # the words that mean nothing here: they still shift the picture
    banned: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)

    def one_of(self, choices: tuple[str, ...], chance: float, usual: tuple[str, ...]) -> str:
        """What was asked for among `choices`; else one of the `usual` ones that nobody forbade."""
        asked = [choice for choice in choices if choice in self.concepts]
        allowed = [choice for choice in usual if choice not in self.banned] or list(usual)
        return asked[0] if asked else allowed[int(chance * len(allowed)) % len(allowed)]

    def wants(self, concept: str) -> bool:
        return concept in self.concepts

    def allows(self, concept: str) -> bool:
        return concept not in self.banned


def understand(prompt: str, negative_prompt: str) -> Asked:
    forbidden = _read(negative_prompt, set())
    asked = _read(prompt, COLOURS.keys() & set(_tokens(negative_prompt)))
    asked.banned = forbidden.concepts
    asked.concepts -= asked.banned
    if not asked.concepts.intersection(PLACES) and not asked.wants("face"):
        asked.concepts |= {_HOME[thing] for thing in asked.concepts & _HOME.keys()} - asked.banned
    return asked


def _tokens(text: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"<[^>]*>", " ", text.lower()))


def _read(text: str, no_colours: set[str]) -> Asked:
    asked, waiting, unknown = Asked(words=set(_tokens(text))), None, []
    for token in _tokens(text):
        stem = next((s for s in (token, token[:-1], token[:-2]) if s in _CONCEPTS and token.startswith(s)), None)
        if stem is not None and (stem == token or token in (stem + "s", stem + "es")):
            for concept in _CONCEPTS[stem]:
                asked.concepts.add(concept)
                if stem != token:
                    asked.many.add(concept)
                if waiting:
                    asked.colours[concept] = waiting
            waiting = None
        elif token in COLOURS:
            if token not in no_colours:
                if waiting:
                    asked.colours[""] = waiting
                waiting = COLOURS[token]
        elif token not in _NOISE:
            unknown.append(token)
    if waiting:
        asked.colours[""] = waiting
    asked.mood = " ".join(sorted(set(unknown)))
    return asked
