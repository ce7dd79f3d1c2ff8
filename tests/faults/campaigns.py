"""Every campaign by its name, in the order of `make faults`."""

from tests.faults.campaign import Campaign
from tests.faults.fuzz import FUZZ, FUZZ_WIRE
from tests.faults.round_machine import ROUND_MACHINE

CAMPAIGNS: dict[str, Campaign] = {campaign.name: campaign for campaign in (ROUND_MACHINE, FUZZ, FUZZ_WIRE)}
