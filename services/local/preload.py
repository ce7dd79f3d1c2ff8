"""What the fork server imports once, so that every process forked from it starts in milliseconds (Linux).

Importing gRPC before a fork is fine; starting anything of it is not, and nothing here does.
"""

import pyarrow.parquet  # noqa: F401
import torch

import services.aggregator.server
import services.bank_client.participant
import services.bank_client.training
import services.bank_client.write_shard
import services.reporter.__main__  # noqa: F401

torch.set_num_threads(1)
# The first backward pass sets up what every later one uses.
torch.nn.functional.linear(torch.zeros(1, 1, requires_grad=True), torch.zeros(1, 1)).sum().backward()  # type: ignore[no-untyped-call]  # torch's own gap
