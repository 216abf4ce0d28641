"""Models run by something else than PyTorch, behind the interface of our own."""
