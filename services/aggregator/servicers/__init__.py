"""The aggregator's rpc services, one a module."""
