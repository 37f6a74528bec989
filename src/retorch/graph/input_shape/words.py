"""What was assumed of an input, in words."""

from __future__ import annotations

from retorch.graph.input_shape.draft import LIKELY, Draft, Side
from retorch.graph.input_shape.rules.images import MOST
from retorch.graph.input_shape.search import Outcome
from retorch.graph.input_shape.tensors import flat, text


def note(found: Outcome) -> str:
    """One sentence: what was assumed, and where each part of it comes from."""
    draft = found.draft
    parts = [*_sources(found), *draft.reasons]
    said = text(draft.input)
    sentence = f"assumed the input {said}"
    if parts:
        sentence += ": " + "; ".join(parts)
    if any("since nothing" in reason for reason in draft.reasons):
        sentence += f"; another is said with --input '{said}'"
    return sentence


def _sources(found: Outcome) -> list[str]:
    drafts, draft = found.drafts, found.draft
    parts: list[str] = []
    if drafts.recorded:
        parts.append("from what the last forward left in the file")
    elif drafts.told:
        value, who = drafts.told[0]
        channels = "channel" if value == 1 else "channels"
        parts.append(f"{value} {channels if len(flat(draft.input)[0].shape) in (4, 5) else 'columns'} from {who}")
    if draft.side is not None:
        parts.append(_side(draft, draft.side))
    limits = sorted({tensor.limit for tensor in flat(draft.input) if tensor.limit is not None})
    if limits:
        parts.append(f"indices from 1 to {' or '.join(map(str, limits))}")
    return parts


def _side(draft: Draft, side: Side) -> str:
    """Where the size of an image comes from, and what its layers leave."""
    if side.who:
        return f"{side.size} from {side.who}"
    usual = f"{side.size} is usual" if side.size in LIKELY else f"{side.size} fits"
    if draft.low == 1 and draft.high >= MOST // 2:
        return usual
    room = f"from {draft.low}" if draft.high >= MOST // 2 else f"{draft.low} to {draft.high}"
    return f"its layers leave {room}, {usual}"
