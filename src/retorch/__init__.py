"""retorch: Torch7 models, alive again."""
