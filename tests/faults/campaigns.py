"""Every campaign by its name, in the order of `make faults`."""

from tests.faults.campaign import Campaign

CAMPAIGNS: dict[str, Campaign] = {}
