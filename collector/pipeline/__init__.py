"""From the exchange to the files: what is missing is fetched, what is streamed is joined, one writer writes."""
