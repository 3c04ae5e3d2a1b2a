"""Settings from file, environment and options, validated together."""
