"""What a head is trained by: targets assigned to anchors, and the terms of the loss."""
