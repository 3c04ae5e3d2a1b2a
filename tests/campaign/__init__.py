"""Proof by force: a real collector, killed again and again while the exchange misbehaves, and its files afterwards.

`python -m tests.campaign --kills 20 --seed 7` runs a long one; the test run has a short one.
"""
