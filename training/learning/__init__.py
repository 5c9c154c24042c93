"""How a site's corrections become an adapter: read, learned, measured against the old one, kept."""
