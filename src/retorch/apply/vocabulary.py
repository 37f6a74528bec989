"""The tokens of a language model: text to indices and back, as a checkpoint's own tables say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from retorch.errors import UsageError
from retorch.torch7 import LuaTable, TorchObject


def _bytes(token: object) -> bytes | None:
    return token if isinstance(token, bytes) else token.encode() if isinstance(token, str) else None


@dataclass(frozen=True)
class Vocabulary:
    """The token of each index, counted from 1 as Torch counts; a token is a byte, a character or a word."""

    tokens: Mapping[int, bytes]

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _indices(self) -> dict[bytes, int]:
        return {token: index for index, token in self.tokens.items()}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._indices))

    def encode(self, text: str | bytes) -> list[int]:
        """The indices of a text, the longest token first at each place.

        Raises:
            UsageError: a character that the model has never seen.
        """
        data = text.encode() if isinstance(text, str) else text
        found: list[int] = []
        at = 0
        while at < len(data):
            size = next((n for n in range(self._longest, 0, -1) if data[at : at + n] in self._indices), 0)
            if not size:
                unseen = data[at:].decode(errors="replace")[0]
                known = b"".join(sorted(token for token in self._indices if len(token) < 5)).decode(errors="replace")
                raise UsageError(f"the model does not know the character {unseen!r}", hint=f"it knows {known!r}")
            found.append(self._indices[data[at : at + size]])
            at += size
        return found

    @classmethod
    def from_checkpoint(cls, root: object) -> Vocabulary | None:
        """What a checkpoint of torch-rnn (``model.idx_to_token``) or char-rnn (``vocab``) says; None without."""
        if not isinstance(root, (LuaTable, TorchObject)):
            return None
        model = root.get("model", root)
        listed = model.get("idx_to_token") if isinstance(model, (LuaTable, TorchObject)) else None
        if isinstance(listed, LuaTable):
            return cls._of(listed.items())
        table = root.get("vocab", root.get("vocabulary"))
        if isinstance(table, LuaTable):
            return cls._of((index, token) for token, index in table.items())
        return None

    @classmethod
    def _of(cls, pairs: Iterable[tuple[object, object]]) -> Vocabulary | None:
        tokens = {index: data for index, token in pairs if isinstance(index, int) and (data := _bytes(token))}
        return cls(tokens) if tokens else None
