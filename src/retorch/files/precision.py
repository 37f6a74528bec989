"""How many bits weights are stored in: ``float`` (32), ``half`` (16) or ``int8``. Nets always compute in float32."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from retorch.errors import UsageError

Precision: TypeAlias = Literal["float", "half", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_BY_NAME: dict[str, Precision] = {name: name for name in PRECISIONS}

#: Formats that store float32 only, and what to do instead.
_INSTEAD = {
    "pytorch": ("PyTorch source", "PyTorch has its own: load().half(), or torch.ao.quantization"),
    "predictor": ("a predictor container", "write a pair of .pb files, or an .onnx file"),
}


def precision(text: str, target: str = "") -> Precision:
    """The precision of that name; for files of a format, where one is named.

    Raises:
        UsageError: there is none of that name, or the format stores float32 only.
    """
    found = _BY_NAME.get(text)
    if found is None:
        raise UsageError(f"--weights {text}: there are float, half and int8")
    if text != "float" and target in _INSTEAD:
        title, hint = _INSTEAD[target]
        raise UsageError(f"--weights {text}: {title} holds its weights in float32", hint=hint)
    return found
