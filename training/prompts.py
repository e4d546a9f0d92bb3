"""Prompts for evaluation, none of them a caption word for word, and the subjects that answer each."""

EVERYDAY: dict[str, tuple[str, ...]] = {
    # animals
    "a small cat looking at me": ("cat", "cat face", "black cat"),
    "my friendly dog": ("dog", "dog face", "poodle"),
    "a brown horse standing": ("horse", "horse face"),
    "cow on a farm": ("cow", "cow face"),
    "little pink pig": ("pig", "pig face"),
    "white rabbit with long ears": ("rabbit", "rabbit face"),
    "a grey elephant in africa": ("elephant",),
    "the king of animals, a lion": ("lion",),
    "a wild tiger": ("tiger", "tiger face"),
    "brown bear animal": ("bear", "teddy bear"),
    "panda eating bamboo": ("panda",),
    "penguin on the ice": ("penguin",),
    "a wise owl at night": ("owl",),
    "green frog in a pond": ("frog",),
    "a slow turtle walking": ("turtle",),
    "orange fish under water": ("fish", "tropical fish", "blowfish"),
    "octopus in the sea": ("octopus", "squid"),
    "a colorful butterfly": ("butterfly",),
    # food and plants
    "one fresh red apple": ("red apple",),
    "ripe yellow banana": ("banana",),
    "a bunch of grapes": ("grapes",),
    "slice of pizza with cheese": ("pizza",),
    "a tasty hamburger": ("hamburger",),
    "chocolate doughnut": ("doughnut", "cookie"),
    "birthday cake with candles": ("birthday cake",),
    "ice cream in summer": ("ice cream", "soft ice cream"),
    "a cup of coffee": ("hot beverage", "teapot"),
    "red strawberry": ("strawberry",),
    "a sliced watermelon": ("watermelon",),
    "an orange carrot": ("carrot",),
    "a red rose flower": ("rose",),
    "yellow sunflower": ("sunflower",),
    # faces
    "happy laughing face": ("grinning face", "face with tears of joy", "smiling face with heart-eyes"),
    "a sad face, crying": ("crying face",),
    "cool face wearing sunglasses": ("smiling face with sunglasses",),
    "scary clown": ("clown face",),
    "a friendly robot head": ("robot",),
    "green alien from space": ("alien",),
    # vehicles
    "a red car": ("automobile", "racing car", "sport utility vehicle"),
    "city bus": ("bus",),
    "fire truck": ("fire engine",),
    "an old steam train": ("locomotive", "train"),
    "airplane flying in the sky": ("airplane",),
    "space rocket launch": ("rocket",),
    "sailing boat": ("sailboat",),
    "bicycle for two wheels": ("bicycle",),
    # objects
    "a small house": ("house", "houses"),
    "acoustic guitar": ("guitar",),
    "golden crown of a king": ("crown",),
    "a soccer football": ("soccer ball",),
}
UNKNOWN = ("qwzx blorf", "the meaning of justice")
# A word for a kind of thing, and prompts for some of that kind.
KINDS = {
    "an animal": ("a small cat looking at me", "my friendly dog", "a wise owl at night", "orange fish under water"),
    "something to eat": ("one fresh red apple", "slice of pizza with cheese", "a tasty hamburger"),
    "a vehicle": ("a red car", "city bus", "airplane flying in the sky"),
}
