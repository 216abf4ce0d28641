"""The machine at hand: its devices, its allocator, its clocks."""
