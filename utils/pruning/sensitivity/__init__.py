"""How much each group of tied channels costs to cut: groups, the file of it, and what it caps."""
