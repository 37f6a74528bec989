"""PyTorch's end of the pipe: runs ``model.py`` for ``retorch.engines.real_pytorch``, one request after the other.

Started as a script by an interpreter that has torch (Python 3.9 and newer), so it imports nothing of retorch. A request
is a line of JSON that names files: the source, an ``.npz`` with the inputs, an ``.npz`` to write, how the inputs nest
and which modules' outputs are wanted. The answer is a line of JSON: nothing, or what went wrong. Whatever the model
prints
goes to standard error.
"""

import importlib
import importlib.util
import json
import struct
import sys
import types
import typing
from pathlib import Path

if typing.TYPE_CHECKING:
    from typing import Any

np: "Any" = importlib.import_module("numpy")
torch: "Any" = importlib.import_module("torch")


def weights(path: str) -> "dict[str, Any]":
    """What a safetensors file holds, for interpreters without that package."""
    data = Path(path).read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    types_ = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1", "I8": "i1", "BOOL": "?"}
    found: dict[str, Any] = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            start, end = (8 + length + at for at in entry["data_offsets"])
            array = np.frombuffer(data[start:end], types_[entry["dtype"]]).reshape(entry["shape"])
            found[name] = torch.from_numpy(array.copy())
    return found


def load_model(model: "Any", path: str) -> None:
    """What the package safetensors does: all names, tied ones once."""
    given = weights(str(path))
    missing, unexpected = model.load_state_dict(given, strict=False)
    filled = {id(p) for n, p in [*model.named_parameters(), *model.named_buffers()] if n in given}
    state = dict([*model.named_modules()])
    absent = [n for n in missing if id(getattr(state[n.rpartition(".")[0]], n.rpartition(".")[2])) not in filled]
    if absent or unexpected:
        raise RuntimeError(f"the weights lack {absent} and have {unexpected}")


def provide_safetensors() -> None:
    """Stand in for the package where it is not installed."""
    if importlib.util.find_spec("safetensors") is None:
        package, module = types.ModuleType("safetensors"), types.ModuleType("safetensors.torch")
        module.load_model = load_model  # type: ignore[attr-defined]
        package.torch = module  # type: ignore[attr-defined]
        sys.modules.update({"safetensors": package, "safetensors.torch": module})


def nested(tree: "Any", tensors: "list[Any]") -> "Any":
    """The tensors as Torch takes them."""
    if isinstance(tree, int):
        return tensors[tree]
    return tuple(nested(item, tensors) for item in tree)


def flat(value: "Any") -> "list[Any]":
    """The tensors of nested tuples, in order."""
    return [value] if torch.is_tensor(value) else [t for item in value for t in flat(item)]


def ready(source: str) -> "Any":
    """The model of a source file, with its weights, at evaluation."""
    spec = importlib.util.spec_from_file_location("model", source)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{source} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load().eval()


def hear(model: "Any", wanted: "dict[str, str]", found: "dict[str, list[Any]]") -> None:
    """Keep the outputs of modules, by the keys that the request gave them."""
    modules = dict(model.named_modules())
    for key, name in wanted.items():
        if name in modules:

            def keep(_module: "Any", _given: "Any", made: "Any", key: str = key) -> None:
                found.setdefault(key, [t.detach().clone().numpy() for t in flat(made)])

            modules[name].register_forward_hook(keep)


def answer(request: "dict[str, Any]") -> None:
    """Run one request and write its arrays."""
    with np.load(request["inputs"]) as stored:
        tensors = [torch.from_numpy(stored[f"x{i}"]) for i in range(len(stored.files))]
    tree = request["nesting"]
    heard: dict[str, list[Any]] = {}
    model = ready(request["source"])
    hear(model, request["modules"], heard)
    arguments = [tensors[tree]] if isinstance(tree, int) else [nested(item, tensors) for item in tree]
    with torch.no_grad():
        outputs = flat(model(*arguments))
    arrays = {f"y{i}": y.numpy() for i, y in enumerate(outputs)}
    for key, values in heard.items():
        arrays.update({f"{key}/{i}": value for i, value in enumerate(values)})
    np.savez(request["outputs"], **arrays)


def main() -> None:
    """Answer requests until the pipe is closed."""
    pipe, sys.stdout = sys.stdout, sys.stderr
    sys.dont_write_bytecode = True  # nothing is left beside the model
    provide_safetensors()
    print(json.dumps({"version": torch.__version__}), file=pipe, flush=True)
    for line in sys.stdin:
        error = ""
        try:
            answer(json.loads(line))
        except Exception as reason:  # whatever a model raises is the answer
            error = f"{type(reason).__name__}: {reason}"
        print(json.dumps({"error": error}), file=pipe, flush=True)


if __name__ == "__main__":
    main()
