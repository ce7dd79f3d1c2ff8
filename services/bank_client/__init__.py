"""The bank client: trains on its own rows and releases integers to be summed."""
