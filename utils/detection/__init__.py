"""Running a detector over pictures and videos, and keeping what it found."""
