"""Files as such: written whole or not at all, checked before they are opened, and formats that several packages share.

Comes in: paths, bytes and arrays. Goes out: files that appear whole, and arrays, pictures and records read from them.
Open first: ``atomic.py``.
"""
