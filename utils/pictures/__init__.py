"""What is drawn: detections on images, charts, the network itself."""
