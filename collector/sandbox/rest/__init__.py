"""What the exchange says over HTTP, from a query to the bytes, and how it is said wrongly when that is asked for."""
