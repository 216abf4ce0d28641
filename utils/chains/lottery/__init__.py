"""The lottery ticket: masks, and weights put back to where they started."""
