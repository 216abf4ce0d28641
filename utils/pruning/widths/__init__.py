"""How many channels each group of tied layers keeps: the file of it, and the plan that obeys it."""
