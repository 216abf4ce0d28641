"""From a budget or a latency to the share of channels that must go."""
