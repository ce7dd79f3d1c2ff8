"""What the fork server imports once for banks and freezes, so that every process forked from it starts in milliseconds
(Linux).

Importing gRPC before a fork is fine; starting anything of it is not, and nothing here does.
"""

import gc

import numpy.ma  # noqa: F401  # Parquet writing imports it
import pyarrow.parquet  # noqa: F401
import torch

import services.bank_client.participant
import services.bank_client.training
import services.bank_client.write_shard
import services.local.children  # noqa: F401

torch.set_num_threads(1)
gc.freeze()  # the children share these pages, and a collection that looked at them would copy each
gc.enable()
