"""What a device's toolchain makes of a cfg: sections that it reads otherwise, fast widths."""
