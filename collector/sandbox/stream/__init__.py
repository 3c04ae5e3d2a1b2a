"""What the exchange says over WebSocket: to whom, when and in which words, and how it goes wrong on purpose."""
