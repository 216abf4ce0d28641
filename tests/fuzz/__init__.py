"""Bad input by the thousand for everything that is read: `python -m tests.fuzz --help`."""
