"""Name the texts by which every object says what it is: machine-written, unverified, for research only."""

MARK = "Machine-written draft, unverified. For research only, not a medical device, not for clinical use."
SHORT_MARK = "ARGUS AI draft - RESEARCH, UNVERIFIED"  # where 64 letters are the most
SEG_MARK = "AI evidence map, unverified, research only"
MAKER = "Argus (open source)"
DEVICE_NAME = "Argus"
STATION_NAME = "ARGUS"
