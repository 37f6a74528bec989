"""From a model to a result: text sampled from language models, pictures in and pictures, labels or distances out.

In comes what :func:`retorch.load` or :func:`retorch.read` gave, out goes text or arrays; nothing is printed here.
Open ``sampling.py`` for text and ``pictures.py`` for pictures first.
"""
