"""What ultralytics calls the blocks of the zoo: for the way back of networks made from names."""
