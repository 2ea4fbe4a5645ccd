"""The stand-alone verifier's Ed25519 against RFC 8032 and against OpenSSL's."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from interlock.proof.verify_bundle import L, is_signed, point

# RFC 8032, 7.1: TEST 1, 2, 3 and TEST SHA(abc).
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc(key: str, message: str, signature: str) -> None:
    public, said, signed = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    assert is_signed(public, said, signed)
    assert not is_signed(public, said + b"x", signed)
    assert not is_signed(public, said, signed[:63] + bytes([signed[63] ^ 1]))
    assert not is_signed(public, said, bytes([signed[0] ^ 1]) + signed[1:])
    assert not is_signed(public, said, signed + b"x") and not is_signed(public, said, signed[:63])
    assert not is_signed(public[:31], said, signed)
    s = int.from_bytes(signed[32:], "little") + L  # the same equation, and refused: signatures have one spelling
    assert not is_signed(public, said, signed[:32] + s.to_bytes(32, "little"))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_what_openssl_signs(seed: bytes, message: bytes) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    signature = private.sign(message)
    public = private.public_key().public_bytes_raw()
    assert is_signed(public, message, signature)
    assert not is_signed(public, message, private.sign(message + b"x"))


@pytest.mark.parametrize(
    "data", [b"\xff" * 32, (2).to_bytes(32, "little"), b"\x01" + bytes(30) + b"\x80", b"", bytes(31)]
)
def test_what_is_no_point(data: bytes) -> None:
    with pytest.raises(ValueError, match="no point"):
        point(data)
