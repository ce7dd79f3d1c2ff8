"""Every campaign by its name, in the order of `make faults`."""

from tests.faults import (
    bad_lines,
    container_kills,
    crash_points,
    disk,
    forgetting,
    fuzz,
    fuzz_masked,
    kills,
    masked_sums,
    nemesis,
    round_machine,
    starts,
)
from tests.faults.campaign import Campaign

CAMPAIGNS: dict[str, Campaign] = {
    one.name: one
    for one in (
        round_machine.ROUND_MACHINE,
        fuzz.FUZZ,
        fuzz.FUZZ_WIRE,
        fuzz_masked.CAMPAIGN,
        crash_points.PLAIN,
        crash_points.SECURE,
        masked_sums.CAMPAIGN,
        disk.PLAIN,
        disk.SECURE,
        forgetting.CAMPAIGN,
        starts.CAMPAIGN,
        kills.AGGREGATOR,
        kills.BANK,
        nemesis.CAMPAIGN,
        *bad_lines.LINES,
        container_kills.CAMPAIGN,
    )
}
