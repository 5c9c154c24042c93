"""Words to names, masks, amounts and planes: what a clause mentions. Knows no action."""
