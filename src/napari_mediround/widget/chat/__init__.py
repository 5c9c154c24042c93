"""The chat dock: one conversation about one study."""
