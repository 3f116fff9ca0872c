"""Sentences in the manner of chest CT reports whose negation, doubt, history or scope is hard to read."""

import pytest

from argus_evaluation.metrics.labels import read_labels

MATERIAL, AORTA, HEART = "Medical material", "Arterial wall calcification", "Cardiomegaly"
PERICARDIAL, CORONARY, HERNIA = "Pericardial effusion", "Coronary artery wall calcification", "Hiatal hernia"
NODES, EMPHYSEMA, ATELECTASIS, NODULE = "Lymphadenopathy", "Emphysema", "Atelectasis", "Lung nodule"
OPACITY, SCAR, EFFUSION = "Lung opacity", "Pulmonary fibrotic sequela", "Pleural effusion"
MOSAIC, CUFF, CONSOLIDATION = "Mosaic attenuation pattern", "Peribronchial thickening", "Consolidation"
BRONCHIECTASIS, SEPTA = "Bronchiectasis", "Interlobular septal thickening"

NEGATION = [
    ("Neither lung shows a nodule, an infiltrate or a mass.", set()),
    ("Pleural effusion or pericardial fluid is not evident on either side.", set()),
    ("No evidence of consolidation; however, subsegmental atelectasis is present at both bases.", {ATELECTASIS}),
    ("There is no pleural effusion, but minimal pericardial effusion measuring 5 mm is noted.", {PERICARDIAL}),
    ("The heart is of normal size and shows no pericardial effusion.", set()),
    ("Apart from a 4 mm nodule in the left lower lobe, no focal lesion is seen in the lungs.", {NODULE}),
    ("No nodule was found other than the calcified one in the right upper lobe.", {NODULE}),
    ("Bronchiectasis, septal thickening and mosaic perfusion are all absent.", set()),
    ("Consolidation: absent. Effusion: absent. Emphysema: mild, in both upper lobes.", {EMPHYSEMA}),
    ("Mediastinal and hilar lymph nodes of pathological size and appearance were not detected.", set()),
    ("The trachea is patent, without endobronchial lesion or bronchial dilatation.", set()),
    ("No pleural thickening-effusion was detected in either hemithorax.", set()),
    ("Both lungs are free of consolidation, ground-glass density and nodules.", set()),
    ("Absence of pleural or pericardial effusion.", set()),
    ("Not a single nodule can be made out in the lung parenchyma.", set()),
    ("No significant change in the size of the nodule in the right middle lobe.", {NODULE}),
    ("Pleural effusion has not increased.", {EFFUSION}),
    ("No calcified plaque in the coronary arteries, but the wall of the aortic arch is calcified.", {AORTA}),
    ("The aorta is calcified while the coronary arteries are free of calcification.", {AORTA}),
    ("Heart size is not increased although the aortic wall shows calcification.", {AORTA}),
    ("There isn't any pericardial effusion.", set()),
    ("No hiatal hernia, and no pathologically enlarged lymph node in the axillae.", set()),
    ("No active infiltration or mass lesion was seen, there are fibrotic bands in the lung apices.", {SCAR}),
    ("The previously described consolidation is no longer seen.", set()),
    ("Neither cardiomegaly nor effusion, only a few millimetric nodules in both lungs.", {NODULE}),
    ("The interlobular septa are of normal thickness.", set()),
    ("No peribronchial thickening; bronchiectasis in the lingula with mucus plugs.", {BRONCHIECTASIS}),
]  # fmt: skip
UNCERTAINTY = [
    ("Pneumonic consolidation cannot be ruled out.", set()),
    ("A small nodule in the lingula could not be excluded because of breathing artifacts.", set()),
    ("Areas that may represent atelectasis or consolidation at the left base.", set()),
    ("Pericardial effusion?", set()),
    ("Further imaging is advised to rule out a lung nodule behind the heart.", set()),
    ("Findings compatible with centrilobular emphysema.", {EMPHYSEMA}),
    ("Ground-glass areas, probably of infectious origin, in the right lower lobe.", {OPACITY}),
    ("The appearance is thought to be atelectasis rather than consolidation.", {ATELECTASIS}),
    ("Evaluation for mediastinal lymphadenopathy is limited without contrast.", set()),
]
HISTORY = [
    ("Clinical information: known emphysema and bronchiectasis. Findings: Clear lungs.", set()),
    ("Indication: follow-up of a lung nodule.\nFindings: The lungs are clear, no nodule is seen.", set()),
    ("Pleural effusion seen in the earlier examination has resolved.", set()),
    ("History of coronary stenting. The heart is normal in size.", set()),
    ("Compared with the previous CT, the ground-glass opacities have regressed but not disappeared.", {OPACITY}),
    ("The nodule known from the prior scan persists unchanged in the right upper lobe.", {NODULE}),
    ("The drain that was present in the last study has been removed.", set()),
    ("Newly developed pleural effusion on the left since the last examination.", {EFFUSION}),
    ("Reason for exam: suspected pericardial effusion. Findings: Minimal pericardial effusion.", {PERICARDIAL}),
    ("The consolidation observed in the previous scan was replaced by fibrotic bands.", {SCAR}),
]
SCOPE = [
    ("A 15 mm hypodense nodule in the left lobe of the thyroid.", set()),
    ("Nodular thickening of the left adrenal gland.", set()),
    ("Umbilical hernia containing fat.", set()),
    ("Free fluid around the liver; the pleural spaces are clear.", set()),
    ("Subcutaneous emphysema along the right chest wall.", set()),
    ("Calcification of the aortic valve.", set()),
    ("Sequela of an old fracture of the right sixth rib.", set()),
    ("Degenerative changes in the thoracic spine with Schmorl nodules.", set()),
    ("Oral contrast material fills the stomach.", set()),
    ("Enlarged right lobe of the thyroid extends into the mediastinum.", set()),
    ("Calcified granuloma of the spleen. A calcified nodule in the right lower lobe.", {NODULE}),
    ("The liver is enlarged and the heart is normal in size.", set()),
    ("Calcified atheromatous plaques are present in the aorta and coronary arteries.", {AORTA, CORONARY}),
    ("Pleural and pericardial effusions are present.", {EFFUSION, PERICARDIAL}),
    ("Consolidation with atelectasis of the left lower lobe adjacent to the effusion in the pleural space.",
     {CONSOLIDATION, ATELECTASIS, EFFUSION}),
    ("Diffuse thickening of the interlobular septa and of the peribronchovascular interstitium.", {SEPTA, CUFF}),
    ("Mosaic perfusion with air trapping in both lower lobes.", {MOSAIC}),
    ("Traction bronchiectasis within fibrotic bands of both upper lobes.", {BRONCHIECTASIS, SCAR}),
    ("The tip of the central venous catheter lies in the superior vena cava.", {MATERIAL}),
    ("Sternal wires and coronary bypass grafts are seen; the heart is enlarged.", {MATERIAL, HEART}),
    ("Part of the stomach has slid into the chest through the esophageal hiatus: hiatal hernia.", {HERNIA}),
    ("Several lymph nodes, the largest 14 mm in the subcarinal area, are enlarged.", {NODES}),
    ("1. Mild cardiomegaly. 2. No pleural effusion. 3. Bullous emphysema at the apices.", {HEART, EMPHYSEMA}),
    ("Bilateral effusions with passive atelectasis of the lower lobes.", {EFFUSION, ATELECTASIS}),
    ("Smooth interlobular septal thickening and peribronchial cuffing suggest congestion.", {SEPTA, CUFF}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [*NEGATION, *UNCERTAINTY, *HISTORY, *SCOPE])
def test_a_hard_sentence_is_read_as_a_radiologist_reads_it(text, expected):
    assert read_labels(text) == expected
