"""From an ultralytics checkpoint to cfg and weights, without ultralytics and without its code."""
