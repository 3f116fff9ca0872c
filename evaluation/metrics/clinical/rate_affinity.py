"""List RaTEScore's weights for the types of two matched entities, which its authors fitted to human ratings.

Source: Zhao et al. 2024; the published values for long reports (package RaTEScore 0.6.0, affinity_matrix "long").
"""

KINDS = ("ABNORMALITY", "ANATOMY", "DISEASE", "NON-ABNORMALITY", "NON-DISEASE")
# Row: type of an entity. Column: type of the nearest entity on the other side.
_ROWS = (
    (0.4276119164393705, 0.6240929990607657, 0.0034478181112993847, 0.5431049700217344, 0.27005425386213877),
    (0.7487824274337533, 0.2856134859160784, 0.4592143222158069, 0.02097055139911715, 0.00013736314126696204),
    (0.8396510075734789, 0.9950209388542061, 0.8460555030578727, 0.9820689020512646, 0.3789136708096537),
    (0.16546764653692908, 0.018670610691852826, 0.719397354576018, 0.0009357166071730684, 0.0927333564267591),
    (0.7759420231214385, 0.1839139293714062, 0.10073046076318157, 0.03860183811876373, 0.34065681486566446),
)
AFFINITY = {
    (row, column): weight
    for row, weights in zip(KINDS, _ROWS, strict=True)
    for column, weight in zip(KINDS, weights, strict=True)
}
NEGATION_WEIGHT = 0.8716553966489615  # factor for a similarity whose two sides contradict each other
_PRESENT, _ABSENT = ("DISEASE", "ABNORMALITY"), ("NON-DISEASE", "NON-ABNORMALITY")
OPPOSITES = frozenset(
    pair for present in _PRESENT for absent in _ABSENT for pair in ((present, absent), (absent, present))
)
