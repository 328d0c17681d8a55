"""InstructRec on MovieLens-100K: 33 kinds of instruction, by a small encoder-decoder from scratch.

    jaxrec train instructrec/ml_100k
    jaxrec eval runs/instructrec-ml_100k

Almost half of each batch asks for the next title after a history of ten. The other rows are spread
over all other instructions. Each title is one token. Genres are the intentions.

Cost: 16 TFLOP in products, 10.4 CPU minutes to train; 5 CPU minutes to measure, of which 2 train
SASRec. `instructrec/claims` has the result on the test items. On the validation items, with 9
random negatives, HR@1 is .568 without an intention, .711 with the right one and .337 with a wrong
one; the three seen wordings have .568, .567 and .574, and the unseen one .573.

Settings are those of the first training. Validation chose the normalization: PMI with a weight of
.25, .5 and 1 has HR@1 .563, .546 and .438.
"""

from jaxrec.systems.instructrec import InstructRecConfig


def get_config() -> InstructRecConfig:
    return InstructRecConfig()
