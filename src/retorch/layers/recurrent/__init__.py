"""Recurrent layers: cells, whole sequences, and modules that are called once a step."""

from retorch.layers.recurrent import attention, cell, cudnn, masking, recursor, sequence, sequencer, state

__all__ = ["attention", "cell", "cudnn", "masking", "recursor", "sequence", "sequencer", "state"]
