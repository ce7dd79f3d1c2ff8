"""The live page: what the journal says now, in a browser on this machine."""
