"""From scores to words: the verdict, and the report that opens with it."""
