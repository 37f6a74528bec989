"""Rules by family: how layers are said in PyTorch; see ``retorch.pytorch.rule``."""
