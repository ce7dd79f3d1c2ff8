"""Simulated populations; production code never imports this."""
