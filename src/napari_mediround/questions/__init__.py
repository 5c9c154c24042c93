"""What words mean, before any model: references, places, sides, requests. Knows no pixel."""
