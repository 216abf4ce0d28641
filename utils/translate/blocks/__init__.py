"""What each block of a checkpoint is in sections: a file per family, and what they share."""
