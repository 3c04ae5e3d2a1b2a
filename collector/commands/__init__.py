"""The commands, one module each where they are more than a call, and how they speak to a person."""
