"""Which sentences of a report a CT cannot tell: rules that need no model (paper, appendix A).

A rule looks at one sentence. What a surgeon left behind is visible ("wires of a previous operation") and stays; what
was seen on another day is not, and goes. Advice to look further ("correlation with the laboratory") tells nothing of
the patient and stays.
"""

import re
from dataclasses import dataclass


def _any_of(*words: str) -> str:
    return "(?:" + "|".join(words) + ")"


_NUMBER = r"(?:\d+(?:[.,]\d+)?)"
_TENS = _any_of("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred")
_ONES = _any_of("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_COUNT = rf"(?:{_ONES}|eleven|twelve|\w+teen|{_TENS}(?:[- ]{_ONES})?|half an?|a few|several)"
_LENGTH = r"mill?i?m(?:et|at)(?:er|re)s?|centim(?:et|at)(?:er|re)s?"
_UNIT = (
    rf"(?:mm|cm|{_LENGTH}|hu|hounsfield(?: units?)?|suv\w*|mls?|dl|cc|cm[3³]|mm[3³]|cubic \w+"
    r"|mill?ilit(?:er|re)s?|lit(?:er|re)s? of \w+)"
)
_MONTH = "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
_MONTH += "|nov(?:ember)?|dec(?:ember)?"
_YEAR = r"(?:19|20)\d\d"
_SPAN = r"(?:days?|weeks?|months?|years?)"
# "Outside the examination area" is a place, not another study.
_STUDY = (
    r"(?:cts?|mri?|pet|pet[-/ ]cts?|ctpa|x-?rays?|radiographs?|scans?|stud(?:y|ies)|exams?|examinations?|images?"
    r"|imaging|reviews?|tomograph\w+|reports?|angiograph\w+)\b(?! (?:area|field|range|volume|limits?|sections?))"
)
_EARLIER = r"(?:last|first|previous|prior|preceding|earlier|old|older|initial|baseline|outside|recent)"
# What a previous illness or operation leaves behind is seen in the scan at hand.
_LEFT_BEHIND = (
    r"(?:[\w-]+ ){0,2}(?:surg\w+|operat\w+|\w*otomy|\w*ectomy|\w*plasty|intervention|bypass|fractures?|resections?"
    r"|tuberculosis|tb|infect\w+|pneumonia|pleurisy|empyema|granulomatous|disease|inflammat\w+|trauma|injur\w+"
    r"|radiotherapy|irradiation|radiation|infarct\w*|embolism|h[ae]emorrhage|procedures?|pleurodesis|drain\w*"
    r"|sternotomy|operated|resected|removed|treated|stent\w*|biops\w+|vaccin\w+)"
)
# One part of the scan beside another.
_SAME_SCAN = (
    r"(?:to|with) (?:the |that of the |its |those of the )?(?:left|right|other|opposite|contralateral|healthy|normal"
    r"|rest|upper|middle|lower|adjacent|neighbou?ring|surrounding|remaining|expected|muscles?|paraspinal|liver|spleen"
    r"|aorta|blood|lungs?|lobes?|parenchyma|vertebra\w*|bones?|arterial|venous|portal|delayed|non-?contrast"
    r"|unenhanced|expirat\w+|inspirat\w+|prone|supine|ascending|descending|kidneys?|cortex|fat|water|side)"
)
_AMOUNT = r"(?:the |its |their )?(?:sizes?|numbers?|amounts?|dimensions?|volumes?|extents?|prevalence|diameters?)"
_CHANGE = r"(?:increas|decreas|reduc|regress|progress|diminish)"
# "The kyphosis has increased" is how some reporters call a state, not a change; a nodule or effusion that grew is one.
_ANATOMY = (
    *("kyphosis", "lordosis", "scoliosis", "spine", "corpus", "vertebra", "vertebrae", "density", "spleen", "liver"),
    *(
        "densities",
        "thyroid",
        "gland",
        "glands",
        "heart",
        "height",
        "heights",
        "calibration",
        "diameter",
        "diameters",
        "chambers",
    ),
    *(
        "dimensions",
        "ventricle",
        "atrium",
        "thickness",
        "transparency",
        "aeration",
        "curvature",
        "ratio",
        "ctr",
        "kidneys",
    ),
)
_NOT_OF_ANATOMY = "".join(f"(?<!{word} )(?<!{word} is )(?<!{word} are )" for word in _ANATOMY)
_SIZE_OF_ANATOMY = (
    rf"\b(?:size|dimensions?) of the (?:{'|'.join(_ANATOMY)})\b(?! \w*(?:metast|lesion|mass|nodul|cyst|node))"
)
_ALONG = (
    r"(?:narrow|taper|enhanc|fill|thinn|dilat|widen|massive fibrosis|[^.]{0,60}\b(?:along|toward|distal|caudal|cranial"
    r"|proximal|phase|periphery|course|level))"
)
_ADVICE = (
    r"\b(?:recommend|advis|correlat|suggest(?!ive)|appropriate|advice)\w*|\b(?:should|must|needs? to) be\b"
    r"|\bif (?:clinically |there |necessary|needed|indicated)"
)


@dataclass(frozen=True)
class SentenceRule:
    """Sentences with any of some patterns are dropped.

    Attributes:
        name: in logs and counts.
        reason: for people.
        pattern: found anywhere in the sentence, whatever its case.
        exempt: sentences in which this is found stay.
    """

    name: str
    reason: str
    pattern: re.Pattern
    exempt: re.Pattern


def _rule(name: str, reason: str, patterns: tuple[str, ...], exempt: str) -> SentenceRule:
    pattern = re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)
    return SentenceRule(name, reason, pattern, re.compile(exempt, re.IGNORECASE))


_NOT_IN_IMAGE = (
    # Vital signs.
    r"\b(?<!fat )(?:de)?sat[ur]{2,4}ation\b(?! (?:artefact|artifact|effect|pulse))|\bspo2\b|\bsao2\b|\boximet\w+\b",
    r"\b(?:sub|a)?fever\w*\b|\b(?:sub|a)?febrile\b|\btemperature\b|°\s?c\b|\bp[ao]?[oc]o?2\b|\bchills\b|\bsweat\w+\b",
    r"\bblood (?:pressure|gas\w*|count|cultures?|sugar|glucose|tests?|values?|results?|analysis|work)\b|\bmmhg\b",
    r"\b(?:heart|pulse|respiratory|breathing) rate\b|\btachy\w+\b|\bbradycardia\b|\bh[ae]e?modynamic\w*\b"
    r"|\bhypotensi\w+\b|\bhypoxi[ac]\b|\bhypox[ae]e?mi\w+\b|\bbreaths per minute\b|\bbeats per minute\b",
    # Who the patient is, what the patient tells.
    r"\b[\w-]+[- ]years?[- ]old\b|\byears? (?:old|of age)\b|\b(?:aged|age of|age is|age:) \d+|\b\d+ ?y/?\.?o\b"
    r"|\bin (?:his|her|their) (?:early |mid |late )?\w+ies\b|\b(?:septua|octo|nona|sexa)genarian\b"
    r"|\bage of the patient\b"
    r"|\bpatient'?s age\b|\bpregnan\w+\b|\bweeks of gestation\b",
    r"\bkg\b|\bkilogram\w*\b|\bbody mass\b|\bbmi\b|\bweight loss\b|\blost weight\b|\bweighs\b",
    r"\bcomplain\w*\b|\bcough\w*\b|\bdyspn\w+\b|\bshort(?:ness)? of breath\b|\bh[ae]e?moptysis\b|\b(?:chest|back"
    r"|abdominal"
    r"|flank|pleuritic|epigastric|shoulder) pain\b|\bfatigue\b|\bsymptom\w*\b|\bsmok(?:er|es|ed|ing)\b"
    r"|\bpack[- ]years?\b"
    r"|\bsore throat\b|\bnausea\b|\bvomiting\b|\bdiarrh\w+\b|\bappetite\b|\bsyncope\b|\bpalpitation\w*\b|\bhoarse\w*\b",
    r"\bglasgow\b|\bwells\b|\bgcs\b|\bapgar\b|\bgeneva score\b|\bcurb\b|\bpsychiatr\w+\b|\bdiabet\w+\b",
    # Laboratory.
    r"\bcrp\b|\bc[- ]?reactive\b|\bsedim\w+(?: rate)?\b(?! in)|\besr\b|\bd-?dimers?\b|\btroponins?\b|\bcreatinine\b"
    r"|\bprocalcitonin\b|\bferritin\b|\binterleukin\w*\b|\bil-6\b|\bfibrinogen\b|\b(?:pro-?)?bnp\b|\bgfr\b|\burea\b"
    r"|\bbun\b",
    r"\bl(?:eu|e?u)[ck]oc[iy]t\w*\b|\bleu[ck]openia\b|\bwbc\b|\bwhite (?:blood )?cells?\b"
    r"|\bred (?:blood )?cells? count\b"
    r"|\blymphocyt\w*\b(?! infiltrat)|\blymphopeni\w+\b|\bplatelets?\b|\bthromboc[iy]t\w+\b|\bh[ae]e?mo?globin\b"
    r"|\bh[ae]e?matocrit\b|\bh[bg]b?\b(?= (?:of|is|was|value|\d))|\bneutro(?:phil|pen)\w*\b|\beosinophil(?:ia|s)\b"
    r"|\banemic\b",
    r"\bliver (?:enzymes|function)|\b(?:kidney|renal|thyroid|pulmonary|lung|respiratory) function tests?\b"
    r"|\btransaminas\w+\b|\bbilirubin\b|\b(?:alt|ast|ggt|alp|ldh|tsh|inr|hba1c|psa|cea|afp)\b|\bphosphatase\b"
    r"|\bamylase\b|\blipase\b|\balbumin\b|\blactate\b|\bglucose\b|\binternational normali[sz]ed ratio\b"
    r"|\bprothrombin\b",
    r"\b(?:serum|plasma) \w+|\b(?:sodium|potassium|calcium|uric acid|cholesterol|hormone|parathormone|thyroglobulin)"
    r" (?:value|level|concentration)s?\b|\bca[ -]?(?:125|19-9|15-3)\b|\btumou?r markers?\b|\b(?:hyper"
    r"|hypo)calc[ae]?emia\b",
    r"\bpcr\b|\bswabs?\b|\bsputum\b|\bcultures?\b|\bantigens?\b|\bantibod\w+\b|\bserolog\w+\b|\big[gmae]\b|\btiter\b"
    r"|\btitre\b"
    r"|\bquantiferon\b|\btuberculin\b|\bppd\b|\bgalactomannan\b|\bacid[- ]fast\b|\bbacill\w+\b|\bsmear\b(?!-)"
    r"|\blavage\b"
    r"|\brheumatoid factor\b|\banca\b|\bana\b|\bgram[- ](?:positive|negative|stain)\b|\bmycobacteri\w+ (?:was|were"
    r"|grew)\b"
    r"|\btest(?:ed)? (?:is |was |came |result(?:s|ed)? )?(?:\w+ )?(?:positive|negative)\b|\brapid test\b|\burin(?:e"
    r"|alysis)\b",
    r"\b(?:fev1|dlco|spirometr\w+|ecg|ekg|electrocardio\w+|echocardiogra\w+|ejection fraction|endoscop\w+"
    r"|bronchoscop\w+)\b",
    r"\bpathology (?:result|report|show|reveal|confirm|diagnos|came|demonstrat|return|exam|specimen)\w*\b"
    r"|\bbiops(?:y|ies|ied)\b(?! (?:clip|marker|tract|needle|site|change))|\bhistopatholog\w+\b|\bcytolog\w+\b",
    r"\bhiv\b|\bcd4\b|\bsero(?:posi|nega)tiv\w+\b|\b(?:\w+phil|cell|blood|colony) counts?\b|\bperipheral blood\b"
    r"|\bphysical exam\w*\b|\bauscultat\w+\b|\bcrackles\b|\brales\b|\bheart sounds\b|\bmurmur\w*\b|\bwheez\w+\b",
    r"\blaboratory (?:values?|results?|findings?|tests?|data|parameters?|records?|examination)\b",
    r"\d\s?(?:mg/d?l|g/d?l|ng/m?l|pg/m?l|u/l|iu/l|mmol/l|bpm|mm/h\w*|mm per hour|µmol/l|/µl|/mm3)\b",
)
_MEASUREMENT = (
    rf"{_NUMBER}[\s-]?{_UNIT}(?![\w³])",
    rf"\b{_COUNT}[- ]{_UNIT}\b",
    rf"{_NUMBER}\s?(?:x|×|\*)\s?{_NUMBER}",
    rf"\b(?:suv|hu|hounsfield)\w*\b[^.]{{0,20}}{_NUMBER}",
    rf"\b(?:ratio|angle|index|score|volume|density|attenuation|diameter)\b(?: \w+){{0,5}} (?:of |as |is "
    rf"|was )?{_NUMBER}\b",
    rf"\b(?:agatston|calcium score)\b[^.]{{0,40}}\d|{_NUMBER}\s?(?:degrees?\b|°)(?!\s?c\b)",
)
_COMPARISON = (
    rf"\bcompar(?:ed|e|es|ing|isons?|ative\w*)\b(?! {_SAME_SCAN})",
    rf"\b(?:previous(?:ly)?|prior|earlier|former(?:ly)?)\b(?! {_LEFT_BEHIND})",
    rf"\b(?:old|older|last|recent|initial|baseline|outside|control|follow-?up|serial|subsequent"
    rf"|preceding)(?: \w+)? {_STUDY}"
    r"|\b(?:smaller|larger|more|less|fewer|bigger|denser|wider)(?: \w+)? than (?:on|in|at|it|they) (?:the )?(?!left"
    r"|right|other)",
    rf"\b(?:current|actual|the present|this present)(?: \w+)? {_STUDY}|\bcurrently\b|\bat (?:that|this) time\b",
    r"\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b|\b\d{4}-\d{2}-\d{2}\b",
    rf"\b(?:{_MONTH})\.? (?:\d{{1,2}},? )?{_YEAR}\b|\b(?:in|from|of|since|dated) {_YEAR}\b|\b{_YEAR} (?:\w+ )?{_STUDY}",
    rf"\b(?:[\w-]+ )?{_SPAN} (?:ago|before|earlier|later|previously)\b|\b{_ONES}[- ](?:day|week|month"
    rf"|year)s?[- ]follow|\byesterday\b",
    rf"\b\d+[- ](?:day|week|month|year)s?[- ](?:follow|interval|control)|\b(?:last|past) {_SPAN}\b",
    r"\b(?<!fracture is )(?<!in )stable\b(?! (?:fracture|fixation|osteosynthesis))|\bstability\b|\bunchanged\b"
    r"|\bunaltered\b"
    r"|\bno (?:interval |significant |relevant |obvious |appreciable |substantial |meaningful )?(?:change"
    r"|difference)s?\b"
    r"(?! (?:between|in density|in attenuation))|\bnot (?:\w+ )?(?:changed|change|differ)\b"
    r"|\bthe same (?:as (?:before|in|on|at)|as (?:the )?(?:last|previous)|appearance as|size as)\b",
    r"\bin (?:the |this )?interval\b|\binterval (?:\w+ )?(?:change|growth|increas|decreas|develop|progress|resolution"
    r"|improve|enlarge|appear|regress|reduc|worsen|stab|remov|placement|clear)\w*\b|\bin the (?:interim|meantime)\b"
    r"|\bmeanwhile\b",
    rf"\bsince (?:the |that |his |her )?(?:\w+ )?(?:{_EARLIER}|{_STUDY}|operation|surgery|treatment|therapy)\b"
    r"(?! (?:is|was|were|are|did|could|has|had)\b)|\bsince then\b|\bsince (?:last )?(?:\w+day|spring|summer|autumn"
    r"|winter)\b",
    rf"\b(?:in|since|until|from) (?:early |late |mid-)?(?!may\b)(?:{_MONTH})\b",
    r"\b(?:is|are|was|were|appears?) new\b|\bnew(?:ly)? (?!born|bone|vessel)|\bnew-onset\b|\bde novo\b|\b(?:has"
    r"|have) newly\b",
    rf"\bprogress(?:ed|ion|es|ing)\b(?! {_ALONG})|\bprogressive(?:ly)?\b(?! {_ALONG})|\bregress(?:ed|ion|ive|ing|es)\b",
    r"\bresolved\b|\b(?<!high )(?<!high-)(?<!spatial )resolution of\b|\bresolving\b|\bcleared\b|\bwaxing\b|\bwaning\b",
    r"\bpersist(?:s|ed|ing|ence)?\b|\bpersistent\b(?! (?:left |right )?(?:superior|svc|ductus|truncus|trunk|fetal"
    r"|azygos))"
    r"|\bno longer\b|\bre-?demonstrated\b|\bstill (?:seen|present|visible|observed|evident|noted|there|persist\w*)\b",
    r"\bagain (?:seen|noted|observed|visible|demonstrated|present)\b|\b(?:seen|noted|observed|present) again\b",
    rf"{_NOT_OF_ANATOMY}\b(?:has|have|had) (?:\w+ )?(?:increased|decreased)\b(?! (?:dimension|size|dens|thick|calib"
    rf"|in favou?r))",
    r"(?<!collaterals )(?<!veins )(?<!vessels )(?<!circulation )\b(?:has|have|had) (?:\w+ )?(?:grown|enlarged|shrunk"
    r"|improved|worsened|diminished|developed|appeared|disappeared|become|gone|evolved|changed|healed)\b",
    rf"{_NOT_OF_ANATOMY}\b{_CHANGE}\w+ (?:was |is |were |are )?(?:\w+ )?in {_AMOUNT}\b",
    rf"{_NOT_OF_ANATOMY}\b{_CHANGE}ed (?:since|from|slightly|markedly|significantly|over)\b"
    r"|\bgrowth\b(?! (?:plate|pattern|along|into))|\b(?:smaller|larger|fewer|bigger|denser) now\b|\bnow (?:smaller"
    r"|larger)\b",
    r"\b(?:than|as|seen|known|described|reported|noted) before\b|\bbefore (?:and|treatment)\b|\balready (?:known"
    r"|described"
    r"|reported|present|seen|visible|noted)\b|\blong-?standing\b|\b(?:appeared|disappeared|emerged) (?:since|after"
    r"|under)\b",
    r"\b(?:worsen|improv|deteriorat)\w*\b|\bshr(?:ink|ank|unk)\w*\b|\b(?:partial|complete|good|treatment|metabolic)"
    r" response\b|\bresponse to (?:treatment|therapy|chemo\w+)\b|\bover time\b|\bunder (?:treatment|follow-?up"
    r"|therapy)\b"
    r"|\bduring (?:the )?(?:follow-?up|treatment)\b|\bin the follow-?up\b|\bwas (?:not )?(?:seen|present|there) then\b",
)
RULES = (
    _rule(
        "not_in_image",
        "a fact about the patient that no CT shows: saturation, fever, age, vital signs, symptoms, laboratory",
        _NOT_IN_IMAGE,
        # Advice that gives a number is more than advice.
        rf"^(?!.*\d).*(?:{_ADVICE})",
    ),
    _rule("measurement", "a measurement that needs a tool: mm, cm, HU, SUV, ml", _MEASUREMENT, r"(?!)"),
    _rule(
        "comparison",
        "a comparison with an earlier study",
        _COMPARISON,
        rf"{_SIZE_OF_ANATOMY}|\brelative to the (?:left|right)\b|^(?!.*\b(?:previous|prior|compared|since"
        rf"|stable)).*\b(?:control|follow-?up|repeat)\b.*(?:{_ADVICE})",
    ),
)


def judge_sentence(sentence: str) -> tuple[str, str] | None:
    """Return the first rule that a sentence falls under, with the words that it found, or None for one that stays."""
    for rule in RULES:
        if (found := rule.pattern.search(sentence)) and not rule.exempt.search(sentence):
            return rule.name, found[0]
    return None
