"""The export dock."""
