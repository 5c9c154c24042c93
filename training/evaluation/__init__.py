"""What the weights do on patients that they never saw."""
