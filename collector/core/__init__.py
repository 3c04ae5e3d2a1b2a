"""The pure core: arithmetic on values that are handed in."""
