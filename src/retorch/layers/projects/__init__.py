"""Classes that published projects brought along, one project or field a file.

Comes in: a stored module of a class that Torch's own packages do not have. Goes out: a layer like any other. Open
first: the file of the project or field; ``neuraltalk2.py`` is the shortest example.
"""

from retorch.layers.projects import (
    atari,
    attention,
    binarynet,
    char_rnn,
    cuda_convnet2,
    dcign,
    densenet,
    detection,
    dpnn,
    edsr,
    fairseq,
    imagine_nn,
    memory_networks,
    neuraltalk2,
    ntm,
    opennmt,
    opennmt_sequences,
    recurrent,
    roi_pooling,
    shake_shake,
    stereo,
    style_transfer,
    waifu2x,
    xnor_net,
)

__all__ = [
    "atari",
    "attention",
    "binarynet",
    "char_rnn",
    "cuda_convnet2",
    "dcign",
    "densenet",
    "detection",
    "dpnn",
    "edsr",
    "fairseq",
    "imagine_nn",
    "memory_networks",
    "neuraltalk2",
    "ntm",
    "opennmt",
    "opennmt_sequences",
    "recurrent",
    "roi_pooling",
    "shake_shake",
    "stereo",
    "style_transfer",
    "waifu2x",
    "xnor_net",
]
