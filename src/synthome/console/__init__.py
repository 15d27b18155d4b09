"""What a run says to the person at the keyboard: its page, its errors, its unknown parameters."""
