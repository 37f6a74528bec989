"""Python source that is read as text: the classes that ``model.py`` needs where PyTorch has no such module.

Comes in: the name of a class. Goes out: its source, which ``library_source`` puts into ``model.py``; nothing here is
imported by retorch. Open first: ``containers.py``, the shortest.
"""
