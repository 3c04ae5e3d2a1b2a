"""What is served over HTTP: health, metrics, the page, and the API below it."""
