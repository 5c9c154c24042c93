"""The learning dock."""
