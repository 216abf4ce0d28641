"""Files of torch.save: written whole, read without running code, by whichever suite they are."""
