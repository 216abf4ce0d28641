"""Files that strangers may have written, read so that none of them can do harm."""
