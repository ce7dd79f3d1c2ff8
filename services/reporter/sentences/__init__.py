"""The sentences that a narrative may be made of: code makes all of them from the facts, a model chooses among them."""
