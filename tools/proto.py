"""Generates ``caffe2_pb2.py`` and ``caffe2_pb2.pyi`` from ``caffe2.proto``.

    uv run --no-project --python 3.11 --with grpcio-tools==1.59.3 --with "setuptools<80" tools/proto.py

That compiler (protoc 24) is the last line whose output does not check the version of the protobuf runtime, so the one
generated module works with every runtime from 4.25 on. Newer compilers tie it to their own major version.
"""

from __future__ import annotations

from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).resolve().parent.parent / "src"
PROTO = "retorch/caffe2/proto/caffe2.proto"
# What the stub generator leaves open: bare Mapping, and lists where it promises tuples.
QUIET = "# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false, reportAssignmentType=false\n"


def main() -> int:
    """Runs the compiler; returns its exit code."""
    flags = [f"-I{SOURCE}", f"--python_out={SOURCE}", f"--pyi_out={SOURCE}", PROTO]
    code: int = protoc.main(["protoc", *flags])
    if code == 0:
        stub = (SOURCE / PROTO).with_name("caffe2_pb2.pyi")
        stub.write_text(QUIET + stub.read_text())
    return code


if __name__ == "__main__":
    raise SystemExit(main())
