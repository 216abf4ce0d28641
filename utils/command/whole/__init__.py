"""How files appear: whole, together with those they belong to, and from one command at a time."""
