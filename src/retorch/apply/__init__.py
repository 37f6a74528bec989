"""From a model to a result: text sampled from language models, pictures in and pictures, labels or distances out.

Comes in: what :func:`retorch.load` or :func:`retorch.read` gave. Goes out: text or arrays; nothing is printed here.
Open first: ``sampling.py`` for text, ``pictures.py`` for pictures.
"""
