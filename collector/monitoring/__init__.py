"""What a running collector says of itself: health, status, metrics. It reads only."""
