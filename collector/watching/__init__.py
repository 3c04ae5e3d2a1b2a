"""How a running collector is, for its operator: looked at, judged, and told over HTTP and to systemd. It only reads."""
