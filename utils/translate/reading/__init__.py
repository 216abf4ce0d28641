"""A checkpoint of ultralytics as data: containers, tensors, and stubs of everything else."""
