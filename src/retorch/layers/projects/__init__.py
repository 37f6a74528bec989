"""Classes that published projects brought along, one project or field a file.

Comes in: a stored module of a class that Torch's own packages do not have. Goes out: a layer like any other. Open
first: the file of the project or field; ``neuraltalk2.py`` is the shortest example.
"""
