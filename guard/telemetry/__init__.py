"""What the gate tells the world: metrics and a log. Neither is on a packet's path."""
