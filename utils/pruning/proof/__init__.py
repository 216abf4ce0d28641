"""What the gate is made of: values that fit, layers run on them, and what is compared."""
