"""The exchange's edge: what it says (dialect, pure), and the ways to it (rest, stream)."""
