"""Recipes: one file each, a frozen dataclass of values and the variants of it that `headroom train` knows by name."""
