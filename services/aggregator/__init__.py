"""The aggregator: runs rounds of weighted FedAvg, keeps the journal, enrols seats."""
