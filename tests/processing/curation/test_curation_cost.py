from argus_processing.curation.curation_cost import cost_of_rules
from argus_processing.curation.selection import CuratedScan, Curation, DroppedSentence
from argus_processing.curation.volume_records import VolumeRecord
from argus_processing.sources.tables import SourceScan

SENTENCES = ("A nodule is seen.", "It measures 5 mm.", "When compared;", "No pleural effusion.")


def draft(source: str, number: int, split: str, kept: tuple[int, ...]) -> CuratedScan:
    scan = SourceScan(source, str(number), str(number), "v.nii.gz", " ".join(SENTENCES))
    return CuratedScan(scan, VolumeRecord(1, 1), split, SENTENCES, kept)


def test_tokens_findings_and_open_ends_are_counted_by_hand():
    drafts = [
        draft("inspect", 1, "train", (0, 2, 3)),  # of 5 + 5 + 3 + 4 tokens
        draft("inspect", 2, "test", (2, 3)),
        draft("ct-rate", 3, "test", (0, 1, 2, 3)),  # official, so unfiltered
    ]
    dropped = [
        DroppedSentence("inspect", "1", 1, "measurement", SENTENCES[1]),
        DroppedSentence("inspect", "2", 0, "comparison", SENTENCES[0]),
        DroppedSentence("inspect", "2", 1, "measurement", SENTENCES[1]),
    ]
    cost = cost_of_rules(Curation(drafts, dropped=dropped), ["ct-rate", "inspect"])
    found = cost["inspect"]
    assert found["reports"] == 2
    assert found["tokens_kept"] == round(1 - 15 / 34, 4)
    assert found["tokens_dropped"] == {"comparison": round(5 / 34, 4), "measurement": round(10 / 34, 4)}
    assert found["named"]["nodule"] == {"before": 2, "after": 1}
    assert found["named"]["effusion"] == {"before": 2, "after": 2}
    assert (found["sentences"], found["open_ended"]) == (5, 2)
    assert cost["ct-rate"]["reports"] == 0 and cost["ct-rate"]["tokens_kept"] == 1.0
    assert cost["all"] == found


def test_published_decisions_tell_what_went_but_not_by_which_rule():
    cost = cost_of_rules(Curation([draft("inspect", 1, "train", (0, 2, 3))]), ["inspect"])
    assert cost["inspect"]["tokens_dropped"] == {"as_published": round(5 / 17, 4)}
