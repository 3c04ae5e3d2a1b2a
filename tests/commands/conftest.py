"""Fixtures for all tests of commands."""

from tests.commands.command_line import box, say

__all__ = ["box", "say"]
