"""The whole network as local processes."""
