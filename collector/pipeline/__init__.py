"""From the exchange to the files: fetching, streaming, and one writer."""
