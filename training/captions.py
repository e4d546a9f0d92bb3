"""What a picture could be called: captions, and the meaning in them that the text encoder must keep."""

import random
import re
from dataclasses import dataclass

from training.data import Subject

STYLE_WORDS = {
    "3d": ("3d render", "3d icon", "glossy 3d", "3d illustration"),
    "flat": ("flat icon", "flat vector", "flat illustration", "flat design"),
}
# A style left unnamed nearly always means 3d, so that a bare prompt has one look and not the mean of two.
STYLE_NAMED = {"3d": 0.35, "flat": 0.92}
BACKGROUNDS = {
    "white": (255, 255, 255),
    "black": (24, 24, 28),
    "grey": (150, 152, 158),
    "red": (215, 60, 60),
    "orange": (240, 150, 60),
    "yellow": (248, 216, 90),
    "green": (100, 180, 100),
    "blue": (80, 130, 220),
    "light blue": (170, 210, 245),
    "purple": (150, 100, 200),
    "pink": (245, 175, 200),
    "brown": (140, 100, 70),
    "beige": (238, 224, 200),
}
BACKGROUND_NAMED = {"white": 0.15, None: 0.0}  # any other: half of the time
# What people say where emojibase says otherwise.
SYNONYMS = {
    "automobile": ("car", "red car"),
    "baby chick": ("chick",),
    "birthday cake": ("cake",),
    "blowfish": ("puffer fish",),
    "cat": ("kitten", "kitty"),
    "cocktail glass": ("cocktail", "drink"),
    "cooking": ("fried egg",),
    "deciduous tree": ("tree",),
    "desktop computer": ("computer", "monitor"),
    "dog": ("puppy",),
    "doughnut": ("donut",),
    "ear of corn": ("corn",),
    "evergreen tree": ("pine tree", "fir"),
    "face with tears of joy": ("laughing face",),
    "fire": ("flame",),
    "fire engine": ("fire truck",),
    "flying saucer": ("ufo",),
    "french fries": ("chips", "fries"),
    "gem stone": ("diamond", "jewel"),
    "grinning face": ("happy face", "smiley", "smiling face"),
    "hamburger": ("burger", "cheeseburger"),
    "honeybee": ("bee",),
    "hot beverage": ("coffee", "cup of coffee", "tea"),
    "lady beetle": ("ladybug",),
    "locked": ("padlock", "lock"),
    "locomotive": ("steam train",),
    "mobile phone": ("phone", "smartphone"),
    "open book": ("book",),
    "racing car": ("race car", "sports car"),
    "red apple": ("apple",),
    "red heart": ("heart",),
    "ringed planet": ("planet", "saturn"),
    "rocket": ("space rocket", "spaceship"),
    "sailboat": ("boat", "sailing boat"),
    "sauropod": ("dinosaur",),
    "soccer ball": ("football", "ball"),
    "soft ice cream": ("ice cream cone",),
    "sport utility vehicle": ("suv", "blue car"),
    "teddy bear": ("plush bear",),
    "tennis": ("tennis ball",),
    "wrapped gift": ("gift", "present"),
}
FRAMES = (
    "{}",
    "a {}",
    "a {}",
    "the {}",
    "a photo of a {}",
    "picture of a {}",
    "an image of a {}",
    "a cute {}",
    "one {}",
)
SCENES = (
    "sitting on a bench",
    "in the park",
    "on a table",
    "outdoors",
    "at sunset",
    "in the city",
    "on the beach",
    "in the style of",
)
QUALITY = (
    *(
        "highly detailed",
        "sharp focus",
        "best quality",
        "masterpiece",
        "high resolution",
        "professional",
        "8k",
        "hyperrealistic",
    ),
    *(
        "studio lighting",
        "beautiful",
        "intricate",
        "cinematic",
        "digital art",
        "vivid colors",
        "trending on artstation",
    ),
)

# Words that only negative prompts have. They stand for nothing, as an empty caption does.
FLAWS = (
    *("worst quality", "low quality", "blurry", "deformed", "disfigured", "watermark", "text", "signature"),
    *("ugly", "noisy", "jpeg artifacts", "bad anatomy", "cropped", "out of focus"),
)


@dataclass(frozen=True)
class Caption:
    """A caption, and what it says about the picture; None for what it leaves open."""

    text: str
    subject: str  # "cat", as it is called here
    style: str | None
    background: str | None


def caption(subject: Subject, style: str, background: str | None, rng: random.Random) -> Caption:
    """Return one of the many captions of a picture; `background` is None where it has no name."""
    name = call(subject, rng)
    named_style = style if rng.random() < STYLE_NAMED[style] else None
    named_background = background if rng.random() < BACKGROUND_NAMED.get(background, 0.5) else None
    return Caption(phrase(name, named_style, named_background, rng), name, named_style, named_background)


def call(subject: Subject, rng: random.Random) -> str:
    """Return the subject's label, or less often one of its other names."""
    draw = rng.random()
    if draw < 0.4 and subject.label in SYNONYMS:
        return rng.choice(SYNONYMS[subject.label])
    if draw < 0.1 and subject.tags:
        return rng.choice(subject.tags)
    if draw < 0.45 and subject.label.endswith(" face") and subject.group == 3:
        return subject.label.removesuffix(" face")
    return subject.label


def phrase(name: str, style: str | None, background: str | None, rng: random.Random) -> str:
    """Return a caption around a name, with words that mean nothing to the picture now and then."""
    text = re.sub(r"\ba (?=[aeio])", "an ", rng.choice(FRAMES).format(name))
    parts = [text]
    if style:
        words = rng.choice(STYLE_WORDS[style])
        parts = [f"{words} of {text}"] if rng.random() < 0.5 else [text, words]
    if rng.random() < 0.06:
        parts[0] += " " + rng.choice(SCENES)
    if background:
        if rng.random() < 0.7:
            parts[0] += f" on a {background} background"
        else:
            parts.append(f"{background} background")
    if rng.random() < 0.25:
        parts += rng.sample(QUALITY, rng.randint(1, 5))
    return ", ".join(parts)


def nothing(rng: random.Random) -> str:
    """Return a caption that says nothing of a picture: empty, or only the words of negative prompts or of quality."""
    if rng.random() < 0.6:
        return ""
    if rng.random() < 0.5:
        return ", ".join(FLAWS[:8])
    return ", ".join(rng.sample(rng.choice((FLAWS, FLAWS, QUALITY)), rng.randint(1, 8)))
