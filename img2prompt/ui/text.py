"""Every word that a visitor of the page reads, in one place."""

TITLE = "img2prompt"
LEAD = (
    "Drop a picture made by Stable Diffusion. A small neural network guesses the words of its "
    "prompt, says how near each guess is, and shows where it lies on a map of words."
)

PICTURE = "Picture"
PICTURE_PLACEHOLDER = "Drop a picture here\nor paste one, or click to choose a file"
EXAMPLES = "No picture at hand? Take one of these."

PRESET = "Which model answers"
PRESETS = {
    "gaze": (
        "Gaze",
        "A network that knows a million photographs looks; an LSTM turns what it saw into ten "
        "word vectors. The one that works.",
    ),
    "original": (
        "Original",
        "The student project's network as it was described: three convolutions and an LSTM that "
        "learn to see from nothing.",
    ),
    "notebook": (
        "Notebook",
        "What the student project really trained: one single vector for the whole prompt, so all "
        "words crowd around one point.",
    ),
}
WORD_COUNT = "How many words"

ANSWER = "The words"
ANSWER_HINT = "nearest to what the model said"
SCORE = "cosine"
CHANCE = "chance"
NEAR = "close by"
WAITING = "The words appear here as soon as there is a picture."
FAILED = "There is no answer: this picture could not be used."

PROMPT = "As a prompt, ready to copy"

MAP = "Where they lie"
MAP_HINT = (
    "Each grey dot is a word that prompts use often; words used alike lie together. Diamonds are "
    "the vectors that the model predicted, lines lead to the words nearest to them."
)
NO_MAP = "There is no map of words here; scripts/build_map.py makes one."

# Plain links: nothing is fetched unless a visitor follows one.
FOOTER = (
    (
        "What the numbers mean",
        "The cosine compares the vector that the model predicted with the word's own: 1 means the "
        "same direction, 0 nothing in common. The chance says how often, on pictures the model "
        "had not seen, a word ranked like this one really stood in the prompt.",
    ),
    (
        "Nothing leaves this machine",
        "The picture goes to the computer that runs this page and to no other, and its copy there "
        "is deleted within hours.",
    ),
    (
        "More pictures",
        "DiffusionDB holds 14 million Stable Diffusion pictures with their prompts, free to use "
        '(CC0): <a href="https://huggingface.co/datasets/poloclub/diffusiondb" target="_blank" '
        'rel="noopener noreferrer">poloclub/diffusiondb</a>.',
    ),
)

NO_EXAMPLE = "There is no such example; choose another one."
PICTURE_GONE = "The picture is no longer here; drop it again."
NO_PICTURE_FILE = "The picture did not arrive; drop it again."
ANSWER_API = (
    "Predict the words of a picture. Returns the answer as HTML, the words as a prompt, the map "
    "as a Plotly figure, and the answer as plain data."
)


def preset_label(preset: str) -> str:
    """The name on a model's switch; a model without one goes by its file's name."""
    return PRESETS[preset][0] if preset in PRESETS else preset


def preset_description(preset: str) -> str:
    """One sentence or two on a model; empty for one we know nothing of."""
    return PRESETS[preset][1] if preset in PRESETS else ""


def answer_heading(count: int, preset: str) -> str:
    """The heading over the words."""
    return (
        f"{preset_label(preset)}: {count} words"
        if count != 1
        else f"{preset_label(preset)}: one word"
    )
