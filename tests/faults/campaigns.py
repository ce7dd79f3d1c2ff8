"""Every campaign by its name, in the order of `make faults`."""

from tests.faults.campaign import Campaign
from tests.faults.round_machine import ROUND_MACHINE

CAMPAIGNS: dict[str, Campaign] = {campaign.name: campaign for campaign in (ROUND_MACHINE,)}
