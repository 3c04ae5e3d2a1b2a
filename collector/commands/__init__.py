"""The command line: a module for each command, and how commands speak to a person."""
