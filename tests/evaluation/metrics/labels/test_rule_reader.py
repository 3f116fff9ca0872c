import pytest

from argus_evaluation.metrics.labels import CT_RATE_LABELS, locate_labels, read_labels

STATED = {
    "Medical material": [
        "A port chamber lies under the skin, and its catheter ends in the superior vena cava.",
        "Status after sternotomy.",
        "The pacemaker is on the left, with two pacing leads.",
        "A nasogastric tube is in place.",
        "Metallic clips near the right hilum.",
    ],
    "Arterial wall calcification": [
        "Calcified plaques are seen along the wall of the descending aorta.",
        "Atherosclerotic changes.",
        "The walls of the great vessels are calcified: calcification of the subclavian arteries.",
    ],
    "Cardiomegaly": ["The heart is enlarged.", "CTR has increased in favor of the heart.", "Marked cardiomegaly."],
    "Pericardial effusion": ["A thin pericardial effusion.", "There is fluid of 8 mm in the pericardial space."],
    "Coronary artery wall calcification": ["Calcific plaques in the LAD and RCA.", "Coronary calcifications."],
    "Hiatal hernia": ["A small sliding hiatal hernia.", "At the lower end of the esophagus there is a hernia."],
    "Lymphadenopathy": ["Enlarged lymph nodes in both axillae.", "Mediastinal LAP of 14 mm.", "Hilar lymphadenopathy."],
    "Emphysema": ["Centrilobular emphysema in the upper lobes.", "A bulla of 3 cm in the right apex."],
    "Atelectasis": ["Plate-like atelectasis in the lingula.", "Subsegmental atelectatic changes at both bases."],
    "Lung nodule": ["A 6 mm nodule in the left lower lobe.", "Several micronodules are scattered in both lungs."],
    "Lung opacity": ["Patchy ground-glass areas in both lungs.", "Hazy opacities in the right lower lobe."],
    "Pulmonary fibrotic sequela": ["Fibrotic bands in the lung apices.", "Old sequelae in the lingula."],
    "Pleural effusion": ["Left pleural effusion of 2 cm.", "Fluid measuring 3 cm is seen in the right pleural space."],
    "Mosaic attenuation pattern": ["Mosaic attenuation in the lower lobes."],
    "Peribronchial thickening": ["Peribronchial thickening.", "The peribronchial sheath shows mild thickening."],
    "Consolidation": ["Lobar consolidation with air bronchograms in the right lower lobe."],
    "Bronchiectasis": ["Cylindrical bronchiectasis in the lower lobes.", "The segmental bronchi are dilated."],
    "Interlobular septal thickening": ["Smooth septal thickening at the bases.", "Interlobular septa are thickened."],
}
NOT_STATED = [
    # denials before and after, through lists, hyphens and slashes
    "No pleural effusion, consolidation or nodule is seen in the lungs.",
    "Pleural thickening-effusion was not observed.",
    "Neither atelectasis nor emphysema.",
    "The lungs are free of nodules and consolidation.",
    "Pericardial and pleural effusions are absent.",
    "Pleural effusion: none. Consolidation: not seen.",
    "No lymph node of pathological size was found in the mediastinum.",
    "The heart is not enlarged.",
    "Without bronchiectasis or peribronchial thickening.",
    "We did not see any ground-glass opacity.",
    "Septal thickening could not be detected.",
    # doubt and request
    "Consolidation cannot be excluded.",
    "Round structure in the left lung (nodule?).",
    "The finding may be atelectasis or consolidation.",
    "Evaluation in terms of interstitial thickening and mosaic attenuation is recommended.",
    # earlier examinations and history
    "Pleural effusion was present in the previous examination.",
    "The consolidation seen on the prior CT was not observed in the current one.",
    "The ground-glass areas have completely resolved.",
    "Clinical information: nodule in the right lung, emphysema. Findings: The lungs are normal.",
    "History of pleural effusion.",
    # other organs
    "A nodule of 12 mm in the left thyroid lobe.",
    "The thyroid gland has grown. It has several nodules.",
    "Nodular lesion of the right adrenal gland.",
    "Bilateral inguinal hernia.",
    "Old sequelae of rib fractures.",
    "Calcification of the aortic valve.",
    "Contrast material was left out.",
    "The stomach is collapsed.",
    "Fluid around the liver and a subcapsular effusion of the spleen.",
    "The density of the liver is decreased.",
    "A calcified lymph node was not seen.",
    "",
]
MIXED = {
    "No consolidation was seen, and there are two nodules in the right lung.": {"Lung nodule"},
    "The aorta is normal and pleural effusion is seen on the left.": {"Pleural effusion"},
    "Pericardial effusion was not observed, but mild pleural effusion is present.": {"Pleural effusion"},
    "No significant change in the pleural effusion.": {"Pleural effusion"},
    "No nodule other than the known ground-glass area in the left upper lobe.": {"Lung opacity"},
    "Nodules that were not present in the previous examination are seen in both lungs.": {"Lung nodule"},
    "New consolidation in the lingula, which was not observed in the previous examination.": {"Consolidation"},
    "Almost complete regression of the consolidation in the right lung.": {"Consolidation"},
    "No pneumothorax, minimal effusion in the right pleural space.": {"Pleural effusion"},
    "Lymph nodes not exceeding 9 mm are present in the mediastinum.": {"Lymphadenopathy"},
    "The lungs could not be evaluated fully because of atelectasis.": {"Atelectasis"},
    "Pleural and minimal pericardial effusion.": {"Pleural effusion", "Pericardial effusion"},
    "Nodules in the thyroid and a nodule in the right lung.": {"Lung nodule"},
    "Mosaic perfusion at both bases (airways?, vessels?).": {"Mosaic attenuation pattern"},
    "1. Cardiomegaly\n2. Atelectasis on the left side\n3. No pleural effusion": {"Cardiomegaly", "Atelectasis"},
    "Calcified plaques in the aorta and coronary arteries.": {
        "Arterial wall calcification",
        "Coronary artery wall calcification",
    },
    "Normal coronary arteries, calcified plaques in the aortic arch.": {"Arterial wall calcification"},
    "Emphysema in both lungs.No pleural effusion.Atelectasis at the left base.": {"Emphysema", "Atelectasis"},
    "Indication: rule out nodules. Impression: Emphysema.": {"Emphysema"},
    "Impression: 1) no effusion 2) nodule in the right lung 3) hiatal hernia": {"Lung nodule", "Hiatal hernia"},
    "Atelectasis was observed, but consolidation was not.": {"Atelectasis"},
    "Cardiomegaly with no pericardial effusion and small pleural effusions.": {"Cardiomegaly", "Pleural effusion"},
    "Comparison: none. There is bronchiectasis in both lungs.": {"Bronchiectasis"},
}


@pytest.mark.parametrize(("label", "sentence"), [(label, each) for label in STATED for each in STATED[label]])
def test_a_stated_label_is_read(label, sentence):
    assert label in read_labels(sentence)


def test_every_label_has_a_sentence_here():
    assert list(STATED) == list(CT_RATE_LABELS) and len(CT_RATE_LABELS) == 18


@pytest.mark.parametrize("sentence", NOT_STATED)
def test_denied_doubtful_past_and_foreign_findings_are_not_read(sentence):
    assert read_labels(sentence) == set()


@pytest.mark.parametrize(("sentence", "labels"), MIXED.items())
def test_denials_reach_their_own_statement_only(sentence, labels):
    assert read_labels(sentence) == labels


@pytest.mark.parametrize("denial", ["No {} is seen.", "{} was not observed.", "No evidence of {}.", "{}: absent."])
@pytest.mark.parametrize("label", CT_RATE_LABELS)
def test_every_label_can_be_denied(label, denial):
    names = {"Medical material": "pacemaker", "Pulmonary fibrotic sequela": "sequela in the lung"}
    names |= {"Arterial wall calcification": "aortic calcification", "Lymphadenopathy": "lymphadenopathy"}
    names |= {"Coronary artery wall calcification": "coronary calcification", "Lung opacity": "opacity in the lung"}
    name = names.get(label, label)
    assert read_labels(f"There is {name}.") == {label}
    assert read_labels(denial.format(name)) == set()


def test_a_mention_tells_its_words_and_status():
    report = "Cardiomegaly. No pleural effusion. The lung may hold a nodule? Emphysema was seen on the prior CT."
    told = [(report[each.start : each.end].lower(), each.status) for each in locate_labels(report)]
    assert told == [
        ("cardiomegaly", "present"),
        ("pleural effusion", "denied"),
        ("nodule", "uncertain"),
        ("emphysema", "past"),
    ]


@pytest.mark.parametrize(
    "report", ["İİ a nodule in the lung", "A nodule in the lung.\r\nNone.", "??", "((", "no " * 500]
)
def test_odd_texts_are_read_and_places_fit(report):
    for mention in locate_labels(report):
        assert 0 <= mention.start < mention.end <= len(report)
        assert report[mention.start : mention.end] == "nodule"
