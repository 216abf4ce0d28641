"""Words for people: names of models, amounts, what to type next."""
