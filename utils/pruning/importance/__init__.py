"""One score per output channel: how much the network would miss it."""
