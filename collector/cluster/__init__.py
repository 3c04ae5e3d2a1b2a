"""Several collectors that share a market by leases in a table."""
