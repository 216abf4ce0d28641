"""Models and runtimes side by side: measured, in a table, as a chart."""
