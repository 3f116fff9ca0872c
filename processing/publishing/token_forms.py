"""List the forms by which secrets of well-known services are recognised."""

# What was recognised -> its form. Such a form begins with letters that no other text has, so words of a vocabulary are
# searched for these too.
TOKEN_FORMS = {
    "a Hugging Face token": r"\b(?:hf|api_org)_[A-Za-z0-9]{20,}",
    "a key that begins with sk-": r"\bsk-[A-Za-z0-9_-]{20,}",
    "a key of a model's service": r"\b(?:gsk_|xai-|pplx-|r8_|nvapi-|csk-|fw_|jina_)[A-Za-z0-9_-]{24,}",
    "an AWS key": r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{20,})",
    "a GitLab token": r"\bgl(?:pat|ptt|dt|rt|cbt|ft|agent|soat)-[\w-]{20,}",
    "a Slack token": r"\bxox[abeprs]-[\w-]{10,}|hooks\.slack\.com/services/[\w/]{20,}",
    "a Google key": r"\b(?:AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,})",
    "an Azure key": r"\b(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{30,}|[?&]sig=[A-Za-z0-9%+/]{30,}",
    "a Databricks token": r"\bdapi[0-9a-f]{32}\b",
    "a Docker token": r"\bdckr_(?:pat|oat)_[\w-]{20,}",
    "a DigitalOcean token": r"\bdo[por]_v1_[0-9a-f]{40,}",
    "a token of a package index": r"\b(?:pypi-AgE[\w-]{40,}|npm_[A-Za-z0-9]{36}|rubygems_[0-9a-f]{40,})",
    "a Stripe key": r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[A-Za-z0-9+/]{20,}",
    "a SendGrid key": r"\bSG\.[\w-]{16,32}\.[\w-]{30,60}",
    "a Vault token": r"\bhv[bsr]\.[\w-]{20,}",
    "an Atlassian token": r"\bAT(?:ATT|CTT|BB)[A-Za-z0-9_=-]{24,}",
    "a token of a tracker or an office": (
        r"\b(?:lin_api_|ntn_|secret_|figd_|glsa_|glc_|shpat_|PMAK-)[A-Za-z0-9_+/=-]{30,}"
    ),
    "a bot's token": r"\b\d{8,10}:AA[\w-]{30,}",
    "a private key": r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----",
    "a key of age": r"\bAGE-SECRET-KEY-1[0-9A-Z]{50,}",
    "a JSON web token": r"\beyJ[\w-]{10,400}\.eyJ[\w-]{10,}",
}
_NAMES = (
    r"(?:api[_-]?key|api[_-]?token|access[_-]?key|secret[_-]?key|client[_-]?secret|passw(?:or)?d|"
    r"(?:hub|hf|auth|access|refresh|wandb|session)[_-]?token)"
)
# Forms whose ends other texts have too.
WORDED_FORMS = {
    "a bearer token": r"\b[Bb]earer\s+[\w.~+/-]{20,}",
    "an address with a password": r"\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@]{1,200}:[^\s/@]{1,200}@",
    "a secret by its name": (
        rf"(?i:{_NAMES})[\"'`]?\s{{0,4}}[:=]\s{{0,4}}[\"'`]?(?=[^\s\"'`]{{0,80}}\d)[\w+/.=~-]{{8,}}"
    ),
}
