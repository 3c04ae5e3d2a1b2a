"""Tests of collector/importing/."""
