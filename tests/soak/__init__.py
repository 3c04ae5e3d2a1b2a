"""Proof by patience: a real collector on a real stream while everything goes wrong, and every byte compared at the end.

`python -m tests.soak --minutes 10 --kills 10 --seed 7` is the long one; the test run has a short one.
"""
