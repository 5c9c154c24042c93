"""How the weights are made: recipes a person edits, a loop a person reads."""
