"""ONNX files: written, rewritten, run."""
