"""A quick test of an embedding: probe words and odd-one-out questions from this field.

Each line is four words, the last of which does not belong. Written for this project.
"""

import numpy as np

from img2prompt.embedding.vectors import WordVectors

ODD_ONE_OUT = """
watercolor gouache oil sunset
dog cat rabbit canvas
lion tiger elephant pastel
painting drawing sketch horse
rutkowski mucha artgerm kitchen
monet cezanne renoir robot
sunrise sunset dawn helmet
forest woods jungle necklace
castle palace fortress banana
spaceship spacecraft starship flower
red blue green castle
crimson scarlet maroon window
portrait face headshot bridge
warrior knight soldier cake
dragon unicorn phoenix laptop
neon cyberpunk futuristic meadow
octane blender unreal river
rain snow fog guitar
mountain hill valley dress
ocean sea lake sword
dress skirt blouse planet
photograph photo photography dragon
impressionism cubism surrealism kitten
anime manga cartoon marble
skyscraper building tower puppy
eyes hair lips train
gold silver bronze forest
robot android cyborg garden
chair table sofa eagle
pizza cake bread armor
car truck bus smile
wizard witch sorcerer bicycle
moon stars galaxy shirt
cinematic dramatic moody spoon
marble granite stone singer
piano guitar violin jungle
king queen prince photograph
bokeh lens camera dragon
rose tulip daisy battleship
vampire zombie ghost teapot
""".strip().split("\n")

# Words whose neighbours every report shows: subjects, artists, media, light, quality.
PROBES = """
portrait dog cat house spaceship castle forest city woman robot mucha monet watercolor
photograph anime cyberpunk sunset neon detailed gold
""".split()


def odd_one_out(vectors: WordVectors) -> tuple[int, int, list[str]]:
    """Ask every question whose four words are known.

    The word with the smallest mean cosine to the other three is the answer.

    Returns:
        (right, asked, lines answered wrong with the answer given).
    """
    right, asked, wrong = 0, 0, []
    for line in ODD_ONE_OUT:
        four = line.split()
        if not all(word in vectors for word in four):
            continue
        asked += 1
        unit = vectors.unit[vectors.positions(four)]
        mean = (unit @ unit.T).sum(axis=1) - 1
        answer = four[int(np.argmin(mean))]
        if answer == four[-1]:
            right += 1
        else:
            wrong.append(f"{line}: {answer}")
    return right, asked, wrong
