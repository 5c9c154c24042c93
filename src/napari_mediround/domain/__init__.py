"""What a geometry, a mask, a reference and a round are. NumPy and the standard library only."""
