"""Credentials by the prefixes that their issuers gave them, so that they can be found; and a few by their surroundings.

An expression takes the whole token, of any length; its length is judged here. So the automaton has nothing to count,
and stays small whatever the text is. What is filled with one letter, or says `EXAMPLE` or `-your-`, stands for a key.
"""

import re
from binascii import Error, a2b_base64

from interlock.guard.kind import Check, Kind, is_named

_CONTINUED = re.compile(rb"[A-Za-z0-9_-]")
"""What no token is followed by: then it is a piece of something else, of an image in Base64 for URLs."""
_LETTERS_MIN = 6
"""A credential has at least so many different characters; `xxxxxxxx` and `00000000` have not."""
_WORD, _DASHED = "[A-Za-z0-9]", "[A-Za-z0-9_-]"
_KEY_BYTES_MAX = 400
"""Within so many bytes after its header, a private key has its first line: between them stand header fields."""
_HEADER_BYTES_MAX = 4096
_PEM_LINE = re.compile(rb"[A-Za-z0-9+/]{40}")
_STAND_IN = re.compile(rb"(?i)example|(?:^|[_-])your(?:[_-]|$)|x{8}")
_PLACEHOLDER = re.compile(rb"(?i)[$%{<*\[]|(?:x+|\.+|pw|pass|passwd|password|pwd|secret|token|your.*|my.*)$")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]{1,20}$")
_GITLAB = "gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|oas|ffct)-"
_AWS_NAMES = r"(?i:secret_?access_?key|aws_?secret)"


def _is_real(body: bytes) -> bool:
    return len(set(body)) >= _LETTERS_MIN and _STAND_IN.search(body) is None


def _token(name: str, what: str, prefix: str, letters: str, least: int, most: int = 1 << 20) -> Kind:
    """A prefix, then from `least` to `most` of these letters, and none of them after it."""
    regex = rf"\b(?:{prefix}){letters}+"
    head = re.compile(prefix.encode())

    def check(text: bytes, start: int, end: int) -> int:
        match = head.match(text, start, end)
        body = text[match.end() if match else start : end]
        whole = least <= len(body) <= most and _CONTINUED.match(text, end) is None
        return end if whole and _is_real(body) else 0

    return Kind(f"credential.{name}", what, regex, check, regex)


def _kind(name: str, what: str, regex: str, check: Check, hint: str = "") -> Kind:
    return Kind(f"credential.{name}", what, regex, check, hint or regex)


def _openai(text: bytes, start: int, end: int) -> int:
    """Of a project or service account; older ones hold T3BlbkFJ (`OpenAI`); other vendors' are letters and digits."""
    body = text[start + 3 : end]
    if body.startswith((b"proj-", b"svcacct-", b"admin-")):
        return end if len(body) >= 48 and _is_real(body.partition(b"-")[2]) else 0
    return end if (len(body) >= 32 and body.isalnum() and _is_real(body)) or b"T3BlbkFJ" in body else 0


def _aws_secret(text: bytes, start: int, end: int) -> int:
    body = text[start:end]
    return end if len(body) == 40 and _is_real(body) and is_named(_AWS_NAMES, text, start, end) else 0


def _private_key(text: bytes, start: int, end: int) -> int:
    """Its header alone is in many programs; a key has a line of Base64 after it."""
    body = text[end : end + _KEY_BYTES_MAX].partition(b"-----")[0]
    line = _PEM_LINE.search(body)
    return end + line.end() if line and _is_real(line[0]) else 0


def _jwt(text: bytes, start: int, end: int) -> int:
    """Three parts, of which the first is a JOSE header: an object (`eyJ` is `{"`) that names its algorithm."""
    head = text[start : min(end, start + _HEADER_BYTES_MAX)].partition(b".")[0]
    try:
        header = a2b_base64(head.translate(bytes.maketrans(b"-_", b"+/")) + b"===")
    except Error:
        return 0
    return end if b'"alg"' in header else 0


def _url_password(text: bytes, start: int, end: int) -> int:
    """Not where a word or a variable stands in the password's place."""
    if _SCHEME.search(text[max(start - 21, 0) : start + 1]) is None:
        return 0
    password = text[start:end].rpartition(b"/")[2].partition(b":")[2].rpartition(b"@")[0]
    return end if len(password) >= 3 and not _PLACEHOLDER.match(password) else 0


def _authorization(text: bytes, start: int, end: int) -> int:
    scheme, _, body = text[start:end].partition(b" ")
    if scheme.lower() == b"bearer":
        mixed = re.search(rb"\d", body) and re.search(rb"[A-Za-z]", body)
        return end if mixed and _is_real(body) else 0
    try:
        user, colon, password = a2b_base64(body, strict_mode=True).partition(b":")
    except Error:
        return 0
    return end if user and colon and password and (user + password).isascii() and b"\0" not in user else 0


_PREFIXED = (
    # name, what, prefix, letters, how many at least, at most
    ("aws-access-key", "AWS access key id (`AKIA`, `ASIA`)", "AKIA|ASIA", "[A-Z2-7]", 16, 16),
    ("anthropic", "Anthropic key (`sk-ant-`)", "sk-ant-(?:[a-z]+[0-9]+-)?", _DASHED, 40),
    ("openrouter", "OpenRouter key (`sk-or-v1-`)", "sk-or-v1-", "[0-9a-f]", 64, 64),
    ("github", "GitHub token (`ghp_` and its kin)", "gh[pousr]_", "[A-Za-z0-9_]", 36),
    ("github-fine-grained", "GitHub fine-grained token (`github_pat_`)", "github_pat_", "[A-Za-z0-9_]", 70),
    ("gitlab", "GitLab token (`glpat-` and its kin)", _GITLAB, "[A-Za-z0-9_.-]", 20),
    ("slack", "Slack token (`xoxb-` and its kin, `xapp-`)", "xox[abceoprs]-|xapp-", "[A-Za-z0-9-]", 20),
    ("slack-webhook", "address of a Slack webhook", "hooks\\.slack\\.com/services/T", "[A-Za-z0-9/]", 30),
    ("google-api", "Google API key (`AIza`)", "AIza", _DASHED, 35, 35),
    ("google-oauth", "Google OAuth client secret or access token (`GOCSPX-`, `ya29.`)", "GOCSPX-|ya29\\.", _DASHED, 28),
    ("stripe", "Stripe secret or restricted key, webhook secret", "[sr]k_(?:live|test)_|whsec_", _WORD, 24),
    ("interlock", "key of this gateway (`ilk_`)", "ilk_", _DASHED, 43, 43),
    ("huggingface", "Hugging Face token (`hf_`)", "hf_", _WORD, 34, 34),
    ("groq", "Groq key (`gsk_`)", "gsk_", _WORD, 52, 52),
    ("xai", "xAI key (`xai-`)", "xai-", _WORD, 60),
    ("perplexity", "Perplexity key (`pplx-`)", "pplx-", _WORD, 40),
    ("replicate", "Replicate token (`r8_`)", "r8_", _WORD, 37, 37),
    ("npm", "npm token (`npm_`)", "npm_", _WORD, 36, 36),
    ("pypi", "PyPI token (`pypi-`)", "pypi-AgE", _DASHED, 60),
    ("docker", "Docker access token (`dckr_pat_`)", "dckr_pat_", _DASHED, 27),
    ("digitalocean", "DigitalOcean token (`dop_v1_` and its kin)", "do[opr]_v1_", "[0-9a-f]", 64, 64),
    ("databricks", "Databricks token (`dapi`)", "dapi", "[0-9a-f]", 32, 32),
    ("vault", "HashiCorp Vault token (`hvs.`)", "hv[sbr]\\.", _DASHED, 24),
    ("sendgrid", "SendGrid key (`SG.`)", f"SG\\.{_DASHED}{{22}}\\.", _DASHED, 43, 43),
    ("grafana", "Grafana service account token (`glsa_`)", "glsa_", "[A-Za-z0-9_]", 40),
    ("shopify", "Shopify token (`shpat_` and its kin)", "shp(?:at|ca|pa|ss)_", "[0-9a-fA-F]", 32, 32),
    ("telegram", "Telegram bot token", "\\d{8,10}:AA", _DASHED, 33, 33),
    ("azure-storage", "Azure storage key in a connection string", "AccountKey=", "[A-Za-z0-9+/=]", 88, 88),
)

CREDENTIALS = (
    *(_token(*one) for one in _PREFIXED),
    _kind("openai", "key as OpenAI's are made (`sk-`), and other vendors'", rf"\bsk-{_DASHED}+", _openai),
    _kind("aws-secret-key", "AWS secret key, beside its name", r"\b[A-Za-z0-9/+]{40,}", _aws_secret, _AWS_NAMES),
    _kind("private-key", "private key in PEM", r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----", _private_key),
    _kind("jwt", "JSON Web Token", rf"\beyJ{_DASHED}+\.eyJ{_DASHED}+\.{_DASHED}+", _jwt),
    _kind(
        "url-password",
        "password in an address (`scheme://user:password@host`)",
        r"""[a-z0-9]:\\?/\\?/[^\s/:@"'<>]*:[^\s/@"'<>]+@[A-Za-z0-9\[]""",
        _url_password,
    ),
    _kind(
        "authorization",
        "`Bearer` or `Basic` with what follows it",
        r"\b(?i:bearer [A-Za-z0-9._~+/-]{8}|basic )[A-Za-z0-9._~+/-]{12,}=*",
        _authorization,
    ),
)
