"""Fixtures for the tests of the documentation."""

from tests.commands.command_line import box, say

__all__ = ["box", "say"]
