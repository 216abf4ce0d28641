"""Words for people: names of models, and what to type next."""
