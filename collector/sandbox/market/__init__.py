"""What there is: instruments and their candles, made up from a seed or replayed from files.

It knows no client.
"""
