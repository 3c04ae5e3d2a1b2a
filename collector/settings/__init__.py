"""What a collector is told: settings from file, environment and options, checked together."""
