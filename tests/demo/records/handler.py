"""Work out by how much clocks were set at each change, and sum that up in the end."""

import os
import time
from collections import Counter

from resumed import Item

SIGNS = {"+": 1, "-": -1}


def process(item: Item) -> dict:
    """Take one record, a change of clocks in one zone."""
    tell(f"{item.part_id} {item.attempt}")
    time.sleep(0.002)  # as somebody would take who is asked over a network
    zone, _, moment = item.part["change"].partition(" ")
    seconds = offset(item.part["after"]) - offset(item.part["before"])
    return {"zone": zone, "year": int(moment[:4]), "minutes": seconds // 60}


def reduce(job) -> dict:
    """Sum up what all records have come to."""
    zones, years = Counter(), Counter()
    for _, result in job.results():
        zones[result["zone"]] += 1
        years[result["year"]] += 1
    tell(f"reduce {job.attempt}")
    return {
        "changes": years.total(),
        "zones": len(zones),
        "busiest_year": years.most_common(1)[0],
        "most_changes": zones.most_common(1)[0],
    }


def offset(text: str) -> int:
    """Read an offset from UTC, such as -03:30, as seconds."""
    hours, minutes, *seconds = text[1:].split(":")
    return SIGNS[text[0]] * (int(hours) * 3600 + int(minutes) * 60 + int((seconds or [0])[0]))


def tell(line: str) -> None:
    """Note that something is run, for the demo to count; the kernel appends whole lines."""
    log = os.open("ran.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, f"{line}\n".encode())
    os.close(log)
