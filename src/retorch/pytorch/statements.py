"""Straight lines made shorter: what nobody reads goes, what is read once by the next line moves into it."""

from __future__ import annotations

import re

from retorch.pytorch.source import laid_out, parsed

#: How long a line may get by taking in the one before it, without its indentation.
_LONGEST = 64


def tidied(lines: list[str]) -> list[str]:
    """The statements of a forward, less the dead ones, with short ones taken together."""
    kept = _without_dead(_statements(lines))
    return [line for text in _together(kept) for line in _laid_out(text)]


def _statements(lines: list[str]) -> list[str]:
    """Each statement as its lines, joined."""
    found: list[list[str]] = []
    for line in lines:
        if found and line.startswith((" ", ")", "]", "}")):
            found[-1].append(line)
        else:
            found.append([line])
    return ["\n".join(one) for one in found]


def _laid_out(text: str) -> list[str]:
    if "\n" in text:
        return text.split("\n")
    if text.startswith("return "):
        return laid_out(parsed(text.removeprefix("return ")), 0, "return ", room=8)
    left, _, right = text.partition(" = ")
    return laid_out(parsed(right), 0, f"{left} = ", room=8)


def _split(text: str) -> tuple[set[str], str]:
    """The names that a statement assigns, and the expression."""
    if text.startswith("return"):
        return set(), text.removeprefix("return ")
    left, _, right = text.partition(" = ")
    return set(re.findall(r"[A-Za-z_]\w*", left)), right


def _uses(name: str, text: str) -> int:
    return len(re.findall(rf"(?<![\w.\"]){name}(?![\w\"])", text))


def _without_dead(statements: list[str]) -> list[str]:
    live: set[str] = set()
    kept: list[str] = []
    for text in reversed(statements):
        targets, right = _split(text)
        if targets and not targets & live:
            continue
        live = (live - targets) | set(re.findall(r"[A-Za-z_]\w*", right))
        kept.append(text)
    return kept[::-1]


def _together(statements: list[str]) -> list[str]:
    """Each statement that the next one alone reads, once, becomes part of it."""
    done: list[str] = []
    for i, text in enumerate(statements):
        current = text
        while done and (merged := _merged(done[-1], current, statements[i + 1 :])) is not None:
            done.pop()
            current = merged
        done.append(current)
    return done


def _merged(first: str, second: str, rest: list[str]) -> str | None:
    targets, inner = _split(first)
    if "\n" in first or "\n" in second or len(targets) != 1:
        return None
    (name,) = targets
    overwritten, outer = _split(second)
    if len(name) > 1 or _uses(name, outer) != 1 or (name not in overwritten and _is_read(name, rest)):
        return None
    if first.startswith(f"{name},"):
        return None
    place = re.search(rf"(?<![\w.\"]){name}(?![\w\"])", outer)
    if place is None:
        return None
    before, after = outer[: place.start()], outer[place.end() :]
    alone = (not before or before.endswith(("(", ", "))) and (not after or after.startswith((")", ",")))
    # a name alone in brackets of a tuple keeps its brackets
    text = inner if alone or not _has_operator(inner) else f"({inner})"
    merged = second[: len(second) - len(outer)] + before + text + after
    return merged if len(merged) <= _LONGEST else None


def _is_read(name: str, statements: list[str]) -> bool:
    """Whether a name is read before it is assigned again."""
    for text in statements:
        targets, right = _split(text)
        if _uses(name, right):
            return True
        if name in targets:
            return False
    return False


def _has_operator(text: str) -> bool:
    """Whether an expression has operators outside of brackets."""
    depth, flat = 0, ""
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        flat += letter if depth == 0 else ""
    return bool(re.search(r"[-+*/@<>=&|~ ]", flat))
