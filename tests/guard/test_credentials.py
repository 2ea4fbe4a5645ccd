"""Credentials: made up here from parts, so that nobody's scanner takes this file for a leak."""

import base64
import string
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.guard import KINDS, Detector

DETECTOR = Detector()
WORD, HEX = string.ascii_letters + string.digits, "0123456789abcdef"
DASHED, BASE32, BASE64 = WORD + "_-", string.ascii_uppercase + "234567", WORD + "+/"

TOKENS = [
    # kind, prefixes (in two halves), letters, length of the rest, whether exactly that
    ("aws-access-key", ("AK|IA", "AS|IA"), BASE32, 16, True),
    ("anthropic", ("sk-|ant-api03-",), DASHED, 95, False),
    ("openrouter", ("sk-|or-v1-",), HEX, 64, True),
    ("github", ("gh|p_", "gh|o_", "gh|s_"), WORD, 36, False),
    ("github-fine-grained", ("github_|pat_",), WORD, 82, False),
    ("gitlab", ("gl|pat-", "gl|dt-", "gl|rt-"), WORD, 20, False),
    ("slack", ("xo|xb-", "xo|xp-", "xa|pp-"), WORD, 40, False),
    ("slack-webhook", ("hooks.slack|.com/services/T",), WORD, 40, False),
    ("google-api", ("AI|za",), WORD, 35, True),
    ("google-oauth", ("GOC|SPX-", "ya|29."), WORD, 28, False),
    ("stripe", ("sk_|live_", "rk_|live_", "sk_|test_", "wh|sec_"), WORD, 24, False),
    ("interlock", ("il|k_",), WORD, 43, True),
    ("huggingface", ("h|f_",), WORD, 34, True),
    ("groq", ("gs|k_",), WORD, 52, True),
    ("xai", ("xa|i-",), WORD, 80, False),
    ("perplexity", ("pp|lx-",), WORD, 48, False),
    ("replicate", ("r|8_",), WORD, 37, True),
    ("npm", ("np|m_",), WORD, 36, True),
    ("pypi", ("py|pi-AgE",), WORD, 150, False),
    ("docker", ("dckr_|pat_",), WORD, 27, False),
    ("digitalocean", ("do|p_v1_", "do|o_v1_"), HEX, 64, True),
    ("databricks", ("da|pi",), HEX, 32, True),
    ("vault", ("hv|s.", "hv|b."), WORD, 24, False),
    ("sendgrid", ("S|G.ngeVfQFYQlKU0ufo8x5d1A.",), WORD, 43, True),
    ("grafana", ("gl|sa_",), WORD, 41, False),
    ("shopify", ("shp|at_", "shp|ss_"), HEX, 32, True),
    ("telegram", ("12345|6789:AA",), WORD, 33, True),
    ("azure-storage", ("Account|Key=",), BASE64, 88, True),
    ("openai", ("s|k-", ), WORD, 48, False),
    ("openai", ("sk-|proj-", "sk-|svcacct-", "sk-|admin-"), DASHED, 120, False),
    ("authorization", ("Bear|er ", "bear|er "), WORD, 40, False),
]  # fmt: skip
OTHERS = ["aws-secret-key", "private-key", "jwt", "url-password"]
every_token = pytest.mark.parametrize("token", TOKENS, ids=lambda token: token[0])


def kinds(text: str) -> set[str]:
    return {detection.kind for detection in DETECTOR.scan(text)}


def filled(letters: str, length: int, chance: Random) -> str:
    """Random letters that end in one that is a letter or digit, with a digit and a letter among them."""
    return "".join(chance.choices(letters, k=length - 3)) + "2" + ("AB" if "A" in letters else "ab")


def test_every_kind_is_tried() -> None:
    tried = {kind for kind, *_ in TOKENS} | set(OTHERS)
    assert {f"credential.{kind}" for kind in tried} == {kind for kind in KINDS if kind.startswith("credential.")}


@every_token
@given(seed=st.integers(0, 2**32))
def test_a_token_is_found_wherever_it_stands(token: tuple[str, tuple[str, ...], str, int, bool], seed: int) -> None:
    kind, prefixes, letters, length, exact = token
    chance = Random(seed)
    for prefix in prefixes:
        body = filled(letters, length, chance)
        secret = prefix.replace("|", "") + body
        places = (
            f"{secret}",
            f"key={secret};",
            f'"{secret}"',
            f"use {secret}. Then",
            f"X\\n{secret}\\n",
            f"({secret},x)",
        )
        for text in places:
            assert f"credential.{kind}" in kinds(text), text
        wrong = [f"xyz{secret}", prefix.replace("|", "") + "x" * length, prefix.replace("|", "")]
        wrong += [secret[:-1], f"{secret}{body[-1]}"] * exact
        wrong += [secret[: len(prefix) + 8]] * (not exact)
        for text in wrong:
            if kind not in ("slack-webhook", "authorization") or text != wrong[0]:
                assert f"credential.{kind}" not in kinds(text), text


@pytest.mark.parametrize("prefix", ["h|f_", "np|m_", "r|8_", "gs|k_"])
def test_a_piece_of_base64_for_urls(prefix: str) -> None:
    length = next(length for _, prefixes, _, length, _ in TOKENS if prefix in prefixes)
    secret = prefix.replace("|", "") + filled(WORD, length, Random(1))
    assert len(kinds(f"-{secret} ")) == 1
    assert kinds(f"-{secret}-x") == kinds(f"-{secret}_x") == kinds(f"-{secret}x") == set()


def test_what_stands_for_a_key_is_none() -> None:
    documented = "AKIA" + "IOSFODNN7EXAMPLE"
    assert kinds(f"{documented} sk-{'x' * 48} ghp_{'0' * 36} sk-ant-api03-{'.' * 40} Bearer {'a1' * 20}") == set()
    assert kinds(f"sk-proj-your_key_here-{'a1b2c3d4' * 6} hf_{'xX' * 17} npm_ABCDEFxxxxxxxx{'abcdefghij' * 3}") == set()


def test_a_word_that_chance_put_into_a_key_hides_nothing() -> None:
    assert kinds("sk-" + "proj-" + "a1YourB2" * 8) == {"credential.openai"}
    assert kinds("hf" + "_" + "abcYOURdefGHIjklMNOpqrSTUvwxYZabcde"[:32] + "Ab") == {"credential.huggingface"}


def test_an_anthropic_key_is_not_taken_for_another_vendors() -> None:
    assert kinds("sk-" + "ant-api03-" + "aB3_dE5-" * 12) == {"credential.anthropic"}
    assert kinds("sk-" + "or-v1-" + "0123456789abcdef" * 4) == {"credential.openrouter"}


def test_an_aws_secret_is_found_beside_its_name() -> None:
    secret, digest = filled(BASE64, 40, Random(7)), filled(HEX, 41, Random(7))
    for text in (f"aws_secret_access_key = {secret}", f"SecretAccessKey: {secret}", f'AWS_SECRET="{secret}"'):
        assert kinds(text) == {"credential.aws-secret-key"}
    assert DETECTOR.scan_document({"secret_access_key": secret})[0].kind == "credential.aws-secret-key"
    assert kinds(f"commit {secret}") == set()
    assert kinds(f"aws_secret_access_key = {digest}") == set()
    assert kinds(f"aws_secret_access_key = {'x' * 40}") == set()


def pem(label: str, *, break_: str = "\n", header: str = "", body: str | None = None) -> str:
    body = base64.b64encode(Random(3).randbytes(120)).decode() if body is None else body
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    return break_.join(
        [f"-----{'BEGIN'} {label}-----", *([header, ""] if header else []), *lines, f"-----END {label}-----"]
    )


@pytest.mark.parametrize("label", ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY",
                                   "ENCRYPTED PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])  # fmt: skip
def test_a_private_key(label: str) -> None:
    header = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF"
    for text in (*(pem(label, break_=break_) for break_ in ("\n", "\r\n", "\\n", " ")), pem(label, header=header)):
        assert kinds(f"here: {text}") == {"credential.private-key"}
    for text in (pem(label, body=""), pem(label, body="…"), pem(label, body="A" * 64), pem(label)[:60]):
        assert kinds(f"here: {text}") == set()
    assert kinds(pem(label.replace("PRIVATE", "PUBLIC"))) == set()
    assert kinds(f"{pem(label, body='')}\n{pem('CERTIFICATE')}") == set()


def segment(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_a_json_web_token() -> None:
    payload, signature = segment('{"sub":"1234567890","name":"nobody"}'), segment("signature of nothing at all")
    assert kinds(".".join((segment('{"alg":"HS256","typ":"JWT"}'), payload, signature))) == {"credential.jwt"}
    assert kinds("Cookie: s=" + ".".join((segment('{"typ":"JWT","alg":"RS256"}'), payload, signature)) + ";") != set()
    assert kinds(".".join((segment('{"type":"HS256","alx":"JWT"}'), payload, signature))) == set()
    assert kinds(".".join((segment('{"alg":"HS256","typ":"JWT"}'), segment("not an object"), signature))) == set()
    assert kinds(".".join((segment('{"alg":"HS256","typ":"JWT"}'), payload))) == set()
    assert kinds(".".join(("eyJ" + "a", payload, signature))) == set()


@pytest.mark.parametrize("scheme", ["postgres", "https", "redis", "mongodb+srv", "amqp"])
def test_a_password_in_an_address(scheme: str) -> None:
    secret = "hu" + "nter2"
    for text in (f"{scheme}://me:{secret}@db.intern:5432/x", f"{scheme}:\\/\\/me:{secret}@db", f"{scheme}://:{secret}@h",
                 f"{scheme}://me:a:b%40c@[::1]/"):  # fmt: skip
        assert kinds(f"DATABASE_URL={text} # ours") == {"credential.url-password"}, text
    for text in ("me:password@db", "me:$PASSWORD@db", "me:${PW}@db", "me:{password}@db", "me:%(pw)s@db", "me:***@db",
                 "me:xxxx@db", "me:your-password@db", "me@db", "db:5432/x@y", "me:ab@db", "me:a b@c"):  # fmt: skip
        assert kinds(f"{scheme}://{text}") == set(), text
    assert kinds(f"1://me:{secret}@db") == set()


def test_basic_authorization() -> None:
    def basic(text: bytes) -> str:
        return "Authorization: Basic " + base64.b64encode(text).decode()

    assert kinds(basic(b"me:" + b"hunter2")) == {"credential.authorization"}
    for text in (
        basic(b"no colon in it"),
        basic(b":empty"),
        basic(b"me:"),
        basic(b"\0\0:\0"),
        basic("é:ü".encode("latin1")),
    ):
        assert kinds(text) == set(), text
    assert kinds("basic understanding of Bearer authentication-and-authorization") == set()


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@given(seed=st.integers(0, 2**32))
def test_an_image_is_no_credential(encode: Callable[[bytes], bytes], seed: int) -> None:
    text = encode(Random(seed).randbytes(60_000)).decode()
    assert DETECTOR.scan(text) == ()
    image = {"source": {"type": "base64", "data": text}, "url": f"data:image/png;base64,{text}"}
    assert DETECTOR.scan_document(image) == ()
