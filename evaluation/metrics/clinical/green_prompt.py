"""Write the prompt of the GREEN model; the model was trained with exactly this text, so it must not change.

Source: Ostmeier et al. 2024, appendix, and the published package green-score (Stanford-AIMI/GREEN).
"""

_ERRORS = """(a) <Error Type>: <The number of errors>. <Error 1>; <Error 2>; ...; <Error n>
    ....
    (f) <Error Type>: <The number of errors>. <Error 1>; <Error 2>; ...; <Error n>"""

PROMPT = f"""Objective: Evaluate the accuracy of a candidate radiology report in comparison to a reference radiology \
report composed by expert radiologists.

    Process Overview: You will be presented with:

    1. The criteria for making a judgment.
    2. The reference radiology report.
    3. The candidate radiology report.
    4. The desired format for your assessment.

    1. Criteria for Judgment:

    For each candidate report, determine:

    The count of clinically significant errors.
    The count of clinically insignificant errors.

    Errors can fall into one of these categories:

    a) False report of a finding in the candidate.
    b) Missing a finding present in the reference.
    c) Misidentification of a finding's anatomic location/position.
    d) Misassessment of the severity of a finding.
    e) Mentioning a comparison that isn't in the reference.
    f) Omitting a comparison detailing a change from a prior study.
    Note: Concentrate on the clinical findings rather than the report's writing style. Evaluate only the findings that \
appear in both reports.

    2. Reference Report:
    {{reference}}

    3. Candidate Report:
    {{prediction}}

    4. Reporting Your Assessment:

    Follow this specific format for your output, even if no errors are found:
    ```
    [Explanation]:
    <Explanation>

    [Clinically Significant Errors]:
    {_ERRORS}

    [Clinically Insignificant Errors]:
    {_ERRORS}

    [Matched Findings]:
    <The number of matched findings>. <Finding 1>; <Finding 2>; ...; <Finding n>
    ```
"""

# One turn of the user, an empty turn of the assistant, and the start of its answer.
CONVERSATION = "<|user|>\n{prompt}{end}\n<|assistant|>\n{end}\n<|assistant|>\n"
