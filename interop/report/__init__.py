"""A finished matrix for people and for other programs."""
