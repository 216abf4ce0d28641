"""Images and labels: lists, letterbox, augmentation, draws, batches."""
