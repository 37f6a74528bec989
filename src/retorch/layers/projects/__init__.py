"""Classes that published projects brought along, one field a file.

Comes in: a stored module of a class that Torch's own packages do not have. Goes out: a layer like any other. Open
first: the file of the field; ``atari.py`` is the shortest example.
"""

from retorch.layers.projects import (
    atari,
    attention,
    binarynet,
    char_rnn,
    cuda_convnet2,
    dcign,
    detection,
    dpnn,
    fairseq,
    memory_networks,
    ntm,
    opennmt,
    recurrent,
    roi_pooling,
    shake_shake,
    stereo,
    style_transfer,
    vision,
)

__all__ = [
    "atari",
    "attention",
    "binarynet",
    "char_rnn",
    "cuda_convnet2",
    "dcign",
    "detection",
    "dpnn",
    "fairseq",
    "memory_networks",
    "ntm",
    "opennmt",
    "recurrent",
    "roi_pooling",
    "shake_shake",
    "stereo",
    "style_transfer",
    "vision",
]
