"""What an evaluation found, as pictures: curves, confusion matrix, labels beside detections."""
