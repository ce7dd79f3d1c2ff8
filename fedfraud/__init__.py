"""What two parties of the federation must agree on: the model, the wire and the identities. Imports no service."""
