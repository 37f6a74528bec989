"""A segmenter in the form of ENet, trained by its PyTorch twin on scenes that are drawn by a program."""
