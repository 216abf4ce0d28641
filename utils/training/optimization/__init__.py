"""How the numbers are updated: steps, rates, precision, averages, what is held still, processes."""
