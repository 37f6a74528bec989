"""Drop-in stand-ins for what old scripts import: ``torchfile``, and ``load_lua`` of PyTorch before 1.0.

>>> from retorch.compat import torchfile      # instead of: import torchfile
>>> from retorch.compat import load_lua       # instead of: from torch.utils.serialization import load_lua

Comes in: the calls of an old script. Goes out: what the library that it was written for would have given. Open first:
``torchfile.py`` or ``legacy.py``, whichever the script imports.
"""

from retorch.compat import torchfile
from retorch.compat.legacy import load_lua

__all__ = ["load_lua", "torchfile"]
