"""Files behind URLs, by fsspec."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, Final

from retorch.errors import UsageError

URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_HTTP: Final = re.compile(r"https?://", re.IGNORECASE)
_GLOB: Final = re.compile(r"[*?\[]")


def remote_paths(url: str) -> list[str]:
    """The files that a URL names: itself, those that match it, or those below it, in order.

    Raises:
        UsageError: nothing is there, or the storage cannot be reached.
    """
    try:
        storage, path = _storage(url)
        if _GLOB.search(path) and not _HTTP.match(url):
            found = storage.glob(path)
        elif _HTTP.match(url) and not url.endswith("/"):
            return [url]
        elif storage.isdir(path):
            found = storage.find(path)
        else:
            found = [path] if storage.exists(path) else []
        return [str(storage.unstrip_protocol(name)) for name in sorted(found)] or _nothing(url)
    except (OSError, ImportError, ValueError) as error:
        raise UsageError(f"{url}: cannot be listed: {error}") from error


def fetch(url: str, target: Path) -> Path:
    """Copy what is behind a URL to a file.

    Raises:
        OSError: it cannot be had.
    """
    try:
        storage, path = _storage(url)
        storage.get_file(path, str(target))
    except (ImportError, ValueError) as error:
        raise OSError(f"cannot be fetched: {error}") from error
    return target


def _storage(url: str) -> tuple[Any, str]:
    fsspec: Any = importlib.import_module("fsspec")
    return fsspec.core.url_to_fs(url)


def _nothing(url: str) -> list[str]:
    raise UsageError(f"{url}: there is nothing")
