"""Health, status and metrics of a running collector: everything here reads only."""
