"""Commands that run others for hours and go on after a kill."""
