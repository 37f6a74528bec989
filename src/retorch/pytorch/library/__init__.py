"""Python source that is read as text: the classes that ``model.py`` needs where PyTorch has no such module."""
