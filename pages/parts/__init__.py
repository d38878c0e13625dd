"""What pages share, by subject."""
