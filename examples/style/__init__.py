"""A small style network in the form of fast-neural-style, trained by its PyTorch twin."""
