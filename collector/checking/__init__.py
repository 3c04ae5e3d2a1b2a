"""What a check is made of: what the bytes of a file say, what can be wrong with them, and what the exchange says."""
