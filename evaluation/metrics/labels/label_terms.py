"""List the words by which a chest CT report names each of CT-RATE's 18 labels.

To teach the rules a wording, add a pattern to its label here. Whether a wording is said of a finding that is there is
decided for all labels alike, in `assertion.py`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple


@dataclass(frozen=True)
class LabelTerms:
    """The wordings of one label; patterns are matched in one statement, in small letters.

    Attributes:
        patterns: wordings that say the label wherever they stand.
        in_lung: wordings that say it if they are said of the lungs, not of another organ.
        hints: wordings that say it of the lungs in a statement without a word of `unless_near`.
        unless: wordings of something else; a match that touches one of them is no mention.
        unless_near: words that make a hint one of something else.
    """

    patterns: tuple[str, ...] = ()
    in_lung: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    unless_near: tuple[str, ...] = ()

    def find(self, statement: str) -> list[tuple[int, int, bool]]:
        """Return the place of every wording in a statement, and whether it must be said of the lungs."""
        if not self._compiled.any_wording.search(statement):
            return []
        others = [match.span() for match in self._compiled.unless.finditer(statement)]
        found = [(*place, False) for place in _places(self._compiled.patterns, statement, others)]
        loose = list(_places(self._compiled.in_lung, statement, others))
        if self.hints and not self._compiled.unless_near.search(statement):
            loose += _places(self._compiled.hints, statement, others)
        return found + [(*place, True) for place in loose if not any(_overlap(place, sure) for sure in found)]

    @cached_property
    def _compiled(self) -> "_Compiled":
        wordings = (*self.patterns, *self.in_lung, *self.hints)
        lists = (self.patterns, self.in_lung, self.hints, self.unless, self.unless_near, wordings)
        return _Compiled(*(_any_of(each) for each in lists))


class _Compiled(NamedTuple):
    patterns: re.Pattern[str]
    in_lung: re.Pattern[str]
    hints: re.Pattern[str]
    unless: re.Pattern[str]
    unless_near: re.Pattern[str]
    any_wording: re.Pattern[str]


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Return one expression of several; without any, one that never matches."""
    return re.compile("|".join(rf"\b(?:{pattern})" for pattern in patterns) or "(?!)")


def _places(finder: re.Pattern[str], text: str, others: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the place of every match that touches no other wording; after one that does, look behind the other."""
    place = 0
    while match := finder.search(text, place):
        touched = [other[1] for other in others if _overlap(other, match.span())]
        if not touched:
            yield match.span()
        place = max(min(touched, default=match.end()), match.start() + 1)


def _overlap(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    return first[0] < second[1] and second[0] < first[1]


def _near(first: str, second: str, words: int = 6, never: str = "(?!)") -> str:
    """Return a pattern of two wordings in either order with some words between them, but none of `never`.

    In the order (second, first) no comma may stand between them: "calcified plaques in the aorta, arch and coronary
    arteries" is one finding, "normal coronary arteries, plaques in the aorta" is two.
    """
    ahead = rf"\W+(?:(?!{never})[\w'/-]+\W+){{0,{words}}}?"
    back = rf"[^\w,;()]+(?:(?!{never})[\w'/-]+[^\w,;()]+){{0,{words}}}?"
    return rf"(?:{first}){ahead}(?:{second})\b|(?:{second}){back}(?:{first})\b"


# Words that may stand between two nouns of one phrase, as in "pleural and minimal pericardial effusion".
_JOINED = (
    r"(?:[ ,/&-]+(?:and|n?or|thickening|thickness|pleural|pericardial|free|loculated|right|left|bilateral|minimal))*"
)
_EFFUSION = r"(?:ef+us+ions?|fluids?|collections?)"
_SEPTA = r"(?<!interatrial )(?<!interventricular )(?<!nasal )(?<!thick )sept(?:a|al|ae|um|ums)\b"
_THICK = r"(?:thicken\w*|(?<!normal )thickness\w*|clarification|prominen\w+|increase\w*|wider|enlarge\w*)"
_WIDE = r"(?:dilat\w+|ectasi\w*|ectatic|enlarge\w*|widen\w*|wider)"
_CALCIFIED = r"(?:(?<!non)(?<!non-)calcif\w+|calcific|calcium(?! channel)|fibrocalcific|athero\w+|plaques?)"
_CORONARY = r"(?:coronar\w+|lad|rca|lcx|circumflex|left anterior descending|lmca)"
# An artery that is not a coronary one; plaques of the abdominal aorta alone are not labelled.
_ARTERY = (
    r"(?:(?<!abdominal )aort(?:a|as|ic)\b(?!\W+(?:valv\w*|coronar\w+|root\W+valv\w*))|thoracic and abdominal aorta"
    r"|thoraco\w*abdominal aorta|aortic arch|supra-?aort\w+|(?:main|major|mediastinal|great|large) vascular"
    r"|vascular structures?|(?<!-)(?<!two )(?<!three )(?<!triple )(?<!single )vessels?|the arch\b"
    r"|(?:pulmonary|carotid|subclavian|brachiocephalic) arter\w+"
    r"|(?<!coronary )arterial)"
)
_MADE_BY_HAND = (
    r"(?:suture|surgical|stent|operation|operative|sternotomy|prosthetic|fixation|osteosynthesis|peg|metal\w*|clip"
    r"|embolization|valve|postoperative|foreign|orthopa?edic|medical)"
)
_HEART = r"(?:heart|cardiac)(?: (?:size|sizes|dimensions?|diameters?|silhouette|volume|contours?|cavities|chambers))*"
_LARGER = r"(?:increas\w*|enlarg\w*|larger|wide\w*|dilat\w*|greater|bigger|above)"
_OTHER_THAN_HEART = r"normal|natural|aort\w*|arter\w*|vascular|vena|pulmonary|mediastin\w*"
# What is said of an effusion without its place is said of the chest, unless it belongs elsewhere.
_LOOSE_EFFUSION = r"(?<!pericardial )(?<!perihepatic )(?<!perisplenic )(?<!joint )(?<!abdominal )ef+us+ions?"

LABEL_TERMS: dict[str, LabelTerms] = {
    "Medical material": LabelTerms(
        (
            r"(?:\w+ )?catheters?\b|cannulae?\b|(?:double[ -]?j|dj)\b|hickman|picc\b",
            r"(?:central|venous|arterial|ij|jugular|subclavian|dialysis|femoral) (?:venous )?lines?\b",
            r"(?<!vein )(?<!veins )(?:(?!to )\w+ )?(?<!to )drains?\b(?! (?:in)?to\b)",
            r"(?:nasogastric|orogastric|feeding) probes?\b",
            r"lvad\b|ventricular assist|impella\b|ecmo\b|loop recorders?|(?:nerve|cord|brain) stimulators?|tav[ri]\b",
            r"(?:stent[ -]?grafts?|endografts?|stent(?:s|ed|ing)?)\b",
            r"pace ?makers?|cardiac pace\b|icd\b|defibrillators?|electrodes?\b",
            r"(?:pacing|pacemaker|icd) (?:leads?|wires?|battery)",
            r"(?:\w+ )?(?<!fallopian )(?<!eustachian )tubes?\b|trache[ao]*stom\w+|gastrostomy|peg\b|nephrostomy",
            r"ports?\b|port-a-cath\w*|(?:ventriculo-?peritoneal|vp) shunts?",
            rf"(?:{_MADE_BY_HAND} )+(?:materials?|implants?|devices?|plates?)\b",
            r"sutures?\b|(?:surgical )?staples?\b|stapler\b|sternotomy\b",
            r"(?:sternal|cerclage|metal\w*|sternotomy) wires?\b|wires? (?:in|of|around) the stern\w+|cerclages?\b",
            r"vertebroplast\w+|kyphoplast\w+|(?:posterior|spinal) (?:stabili[sz]ation|instrument\w+)|bone cement",
            r"metallic\b(?: \w+)? (?:densit\w+|artifacts?|foreign|objects?|appearances?|materials?|valves?|prosthe\w+)",
            r"(?:\w+ )?clips?\b|prosthe\w+|(?:embolization |metal\w* )coils?\b|intra-?aortic balloon",
            r"(?:breast|silicone?|mammary|intrapectoral|retropectoral|cochlear|dental) implants?\b",
            r"(?:spinal|orthopa?edic|surgical|fixation) (?:hardware|mesh\w*|rods?)\b|arthroplast\w+|gastric band\b",
            r"valve replacement|(?:mechanical|artificial|prosthetic|replaced) (?:\w+ )?valves?|valvuloplasty",
            r"(?:vena cava|ivc) filters?|(?:pedicle )?screws?\b|fixators?\b|(?:metal\w*|steel) (?:plates?|rods?)\b",
        ),
        unless=(r"contrast materials?|mucus materials?|(?:omental|capsular|peritoneal) implants?",),
    ),
    "Arterial wall calcification": LabelTerms(
        (_near(_CALCIFIED, _ARTERY, 14, r"dilat\w*|ectas\w*|ectatic|aneurysm\w*"), r"(?<!coronary )vascular calcif\w+"),
        hints=(r"(?:calcif\w+ )?athero\w+(?: (?:changes?|disease|plaques?|lesions?|calcifications?))?",),
        unless_near=(_CORONARY, r"abdominal|iliac|infrarenal|celiac|coeliac|mesenteric|renal"),
        unless=(
            r"(?:aortic|mitral|tricuspid|cardiac) (?:valv\w*|annul\w*)|pleura\w* (?:\w+ )?plaques?|plaque-like"
            r"|lymph nodes?|nodul\w+|bronch\w+ wall|pericardi\w+",
        ),
    ),
    "Cardiomegaly": LabelTerms(
        (
            r"cardiomegal\w+|cardiac enlargement|megacardi\w+",
            _near(_HEART, _LARGER, 5, _OTHER_THAN_HEART),
            _near(r"(?:cardio-?thoracic (?:index|ratio)|ctr|cto|cti)", _LARGER, 5, _OTHER_THAN_HEART),
            _near(r"(?:left ventric\w+|(?:heart|cardiac) (?:chambers?|cavit\w+))", r"(?:dilat\w+|enlarg\w+)", 4),
        ),
        unless=(r"paracardiac|pericardi\w+|(?:heart|cardiac) (?:failure|stasis|congestion)|cardiac valve",),
    ),
    "Pericardial effusion": LabelTerms(
        (
            rf"pericardi(?:al|um|a|c)?{_JOINED}[ ,/-]+{_EFFUSION}\b",
            rf"pericardi(?:al|um) (?:\w+ ){{0,3}}{_EFFUSION}\b",
            _near(_EFFUSION, r"pericardi(?:al (?:area|spaces?|cavity|leaves|sac|recess\w*)|um)", 14),
            r"(?:hemo|pneumo|hydro)pericardi\w+|pericardiac fluid",
        ),
    ),
    "Coronary artery wall calcification": LabelTerms(
        (_near(_CALCIFIED, _CORONARY, 14),),
        unless=(
            r"pleura\w* (?:\w+ )?plaques?|coronary (?:\w+ )?(?:stent\w*|bypass\w*|grafts?)",
            r"(?:aortic|mitral|tricuspid|cardiac) (?:valv\w*|annul\w*) calcif\w+",
        ),
    ),
    "Hiatal hernia": LabelTerms(
        (
            r"(?:hiatal|hiatus|para-?o?esophageal)(?: \w+)? herni\w*",
            r"herni\w+(?: of(?: the)?|:)? (?:o?esophageal )?hiat\w+",
            _near(r"herni\w+", r"(?:o?esophag\w+|lower end|stomach|gastric|fundus|gastroesophageal)", 12),
            r"(?:sliding|slid\w*|sili\w+|slippery|mixed|rolling)(?:[ -]type)?(?: \w+)? herni\w+",
        ),
        unless=(
            r"(?:umbilical|inguinal|incisional|ventral|bochdalek|morgagni|abdominal wall|disc) herni\w+",
            r"(?:hiat\w+ )?herni\w+ repair",
        ),
    ),
    "Lymphadenopathy": LabelTerms(
        (
            r"lymph(?:atic)?[ -]?nodes?|lymphadenopath\w+|lymphadenomegal\w+|adenopath\w+|lymphadenit\w+|laps?\b",
            r"(?<!sinus )(?<!av )(?<!atrioventricular )nodes?\b|adenomegal\w+",
            r"nodal (?:enlargement|disease|conglomerat\w+|metastas[ei]s)",
        ),
        unless=(
            r"(?:intra-?pulmonary|subpleural|perifissural|intra-?parenchymal|intra-?mamm\w+) lymph nodes?"
            r"|lymph node (?:stations?|dissection)",
        ),
    ),
    "Emphysema": LabelTerms(
        (r"emphysem\w+|bullae?\b|bullous|bulla-|blebs?\b|bull (?:formation|measuring)|copd lungs?\b",),
        unless=(r"(?:subcutaneous|mediastinal|soft tissue) (?:\w+ ){0,2}emphysem\w*|emphysem\w* in the soft",),
    ),
    "Atelectasis": LabelTerms(
        (
            r"(?<!fibro-)(?<!fibro )(?:sub)?atelec\w+",
            r"(?:lung|lobe|lobar|segment)\w*(?: \w+){0,3} collaps\w+",
            r"collaps\w+(?: (?:of|in))?(?: the)? (?:\w+ ){0,3}(?:lung|lobe)|collaps\w*[ /-]cons[ao]lid\w+",
        ),
    ),
    "Lung nodule": LabelTerms(
        in_lung=(
            r"(?:micro-?)?nodul(?:e|es|i)?\b",
            r"(?:micro-?)?nodular (?:lesions?|formations?)",
            r"(?:intra-?pulmonary|subpleural|perifissural|intra-?parenchymal) lymph nodes?",
        ),
        unless=(
            r"nodul\w+(?: lesions?)?(?: [\w()?]+){0,2} (?:in|on|of) the pleura\b",
            r"(?:schmorl|thyroid|adrenal|mural|pleural|breast|hepatic|liver|splenic|renal|peritoneal|subcutaneous|skin)"
            r"(?:'?s)? (?:\w+ )?nodul\w+",
        ),
    ),
    "Lung opacity": LabelTerms(
        (
            r"(?:ground|frosted|frost|matt?e?|tarnished|unpolished|opaque)[ -]?glas\w*|ggos?\b",
            r"crazy[ -]?paving",
            r"opacification (?:of|in) the (?:\w+ ){0,2}(?:lung|lobe|hemithorax)",
        ),
        in_lung=(
            r"opacit\w+",
            r"(?<!atelectatic )linear (?:density increas\w*|increas\w+ (?:in|of) density)",
        ),
        hints=(r"density increas\w*|increas\w+ (?:in|of) (?:\w+ )?densit\w+|increased densit\w+|densities",),
        unless=(
            r"(?:ground|frosted)[ -]?glass (?:\w+ )?nodul\w+",
            r"nodul\w+ (?:\w+ ){0,8}?(?:in|of) ground[ -]?glass density",
        ),
        unless_near=(
            r"sequel\w*|fibro\w+|reticul\w+|atelec\w+|consolid\w+|soft tissue|pleur\w+[ -]?parenchymal|peribronch\w+"
            r"|normal|natural|decreas\w+|reduc\w+|loss\w*|residual|stent\w*|metal\w*|mucus|calcul\w+|calcif\w+",
        ),
    ),
    "Pulmonary fibrotic sequela": LabelTerms(
        in_lung=(
            r"sequel(?:a|ae|as|e|s)?\b",
            r"fibro-?tic\b|fibro-?atelec\w+",
            r"pleur(?:o|a|al)[ -]?parenchymal (?:\w+ )?densit\w+",
            r"(?:pleuro-?|pleura-?)?parenchymal (?:\w+ )?bands?\b|fibro\w* bands?|scar(?:s|ring)?\b",
            r"fibrous (?:tracts?|strands?|changes?|densit\w+)|cicatri\w+",
            r"(?:bi)?apical (?:\w+ )?fibrosis",
            r"fibrosis (?:in|of|at) (?:(?:both|the|right|left|bilateral) ){0,2}(?:lung )?api?(?:ces|ex)\w*",
        ),
        unless=(
            r"(?:rib|costal|bone|vertebra\w*) (?:\w+ )?fractures?|incision\w* scar\w*|pyelonephritis|lung fibrosis"
            r"|idiopathic pulmonary fibrosis|fibrocalc\w+|cystic fibrosis"
            r"|sequel\w+ of (?:\w+ ){0,3}(?:thoracotomy|sternotomy|mastectomy|fractures?)",
        ),
    ),
    "Pleural effusion": LabelTerms(
        (
            rf"pleural?{_JOINED}[ ,/-]+{_EFFUSION}\b",
            rf"pleural (?:\w+ ){{0,3}}{_EFFUSION}\b",
            _near(_LOOSE_EFFUSION, r"(?:pleura\w*|(?:hemi)?thora\w+|lungs?|costophrenic)", 14, r"do|does|did"),
            _near(r"fluids?|collections?", r"(?:pleural (?:spaces?|cavit\w+|leaves|area)|hemithora\w+)", 10),
            r"(?:hemo|hydro|pyo|chylo|hydropneumo|hemopneumo)thora\w+|empyema\w*",
            r"(?:parapneumonic|subpulmonic|interlobar|malignant|layering) ef+us+ions?",
            _near(r"(?:fluids?|ef+us+ions?)", r"fissur\w*", 5, r"do|does|did"),
        ),
        hints=(
            _near(_LOOSE_EFFUSION, "(?:right|left|bilateral|both)", 8),
            r"(?:small|moderate|large|massive|trace|tiny|minimal|loculated) ef+us+ions?\b",
        ),
        unless=(r"pleural fluid attenuation",),
        unless_near=(r"(?:pericard|abdom|pelvi|periton|peri-?hepat|peri-?splen|joint|spleen|liver|knee|shoulder)",),
    ),
    "Mosaic attenuation pattern": LabelTerms(in_lung=(r"mosaic\w*",)),
    "Peribronchial thickening": LabelTerms(
        (
            _near(
                r"peri-?bronch\w*(?:-?vascular)?(?: (?:sheath|wall|interstiti\w+|cuff\w*|axial))*",
                r"(?:thicken\w*|(?<!normal )thickness\w*)",
                8,
            ),
            r"peri-?bronch\w* cuff\w*",
        ),
    ),
    "Consolidation": LabelTerms(
        (r"cons[ao]lid\w+",),
        in_lung=(r"condensations?\b",),
        unless=(r"cons[ao]lid\w+ (?:\w+ ){0,2}fractures?|cons[ao]lid\w+ (?:of|in) (?:\w+ ){0,2}(?:fractures?|bones?)",),
    ),
    "Bronchiectasis": LabelTerms(
        (
            r"bronch(?:i|io|iol|iolo|o)?-?ect\w+",
            _near(r"bronch(?:i|us|ial|ioles?)\b(?: (?:structures?|diameters?|calibration\w*|lumens?))*", _WIDE, 5),
            r"increase in bronchial diameters?",
        ),
        unless=(r"(?:main|right main|left main) bronch\w+",),
    ),
    "Interlobular septal thickening": LabelTerms(
        (
            _near(_SEPTA, _THICK, 4),
            r"inter-?lob\w+(?: \w+){0,3} (?:thicken\w*|thickness)",
            r"interstiti\w+(?: \w+){0,2} thicken\w*|thicken\w* of the (?:\w+ )?interstiti\w+|(?<!inter)septal lines\b",
            r"kerley",
        ),
    ),
}
CT_RATE_LABELS = tuple(LABEL_TERMS)
