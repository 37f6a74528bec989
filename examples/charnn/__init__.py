"""A language model of characters in the form of char-rnn, trained on Shakespeare by its PyTorch twin."""
