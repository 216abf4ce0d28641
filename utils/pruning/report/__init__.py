"""What a prune tells: tables, report.json, report.html with its pictures."""
