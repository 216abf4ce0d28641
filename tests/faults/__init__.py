"""Disks that refuse: the n-th write, sync, rename, folder or new file of a command fails."""
