"""Batch normalisation: its epsilon in other runtimes, its statistics measured anew, its gammas."""
