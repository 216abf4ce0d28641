"""What a teacher adds to the loss."""
