"""What every command shares: errors, flags, files that appear whole, tables, timing."""
