"""Writes keys.json: keys, good and bad, that every implementation must judge alike.

It shares no code with the Go package: it follows docs/key-format.md with
Python's standard library. Each random part comes from the SHA-256 of the
vector's name, so the same file comes out on every run.

    python3 testdata/keys.py > testdata/keys.json
"""

import hashlib
import json
import re
import zlib

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SEED = "tokenauth key vectors 1: "
FORM = re.compile(r"([a-z](?:[a-z0-9_]{0,18}[a-z0-9])?)_([0-9A-Za-z]{32})([0-9A-Za-z]{6})", re.ASCII)


def base62(n, width, digits=DIGITS):
    text = ""
    while n:
        n, rest = divmod(n, 62)
        text = digits[rest] + text
    return text.rjust(width, digits[0])


def random_part(name):
    n = int.from_bytes(hashlib.sha256((SEED + name).encode()).digest(), "big")
    return base62(n, 43)[-32:]


def check(text):
    return base62(zlib.crc32(text.encode()), 6)


def make(name, prefix="acme", random=None):
    start = prefix + "_" + (random or random_part(name))
    return start + check(start)


def search(name, wanted):
    """The first key of a series whose checksum is as wanted, a regular expression."""
    for i in range(1_000_000):
        key = make(f"{name} {i}")
        if re.fullmatch(wanted, key[-6:]):
            return key
    raise LookupError(name)


def is_key(text):
    m = FORM.fullmatch(text)
    return bool(m) and check(text[:-6]) == text[-6:]


def crc32c(data):
    """Castagnoli's CRC, which is not the one in use."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


vectors = []


def good(name, key):
    assert is_key(key), name
    digest = hashlib.sha256(key.encode()).hexdigest()
    vectors.append({"name": name, "key": key, "valid": True, "prefix": key[:-39], "sha256": digest})


def bad(name, key, reason):
    assert not is_key(key), name
    vectors.append({"name": name, "key": key, "valid": False, "reason": reason})


def write_good():
    for prefix in ["acme", "tokenauthtest", "a"]:
        good(f"prefix {prefix}", make(f"prefix {prefix}", prefix))
    good("prefix with a digit", make("prefix with a digit", "a1"))
    good("prefix with an underscore", make("prefix with an underscore", "acme_test"))
    good("prefix with two underscores in a row", make("two in a row", "a__b"))
    good("prefix with underscores and digits", make("underscores and digits", "acme_2_0"))
    good("prefix that looks like a key's start", make("nested", "acme_acme"))
    good("prefix of 16 characters, one SHA-256 block", make("16", "tokenauthtest_16"))
    good("prefix of 17 characters, two SHA-256 blocks", make("17", "tokenauthtest_017"))
    good("prefix of 20 characters", make("20", "tokenauthtest_000020"))
    good("checksum that begins with 0", search("one zero", "0.{5}"))
    good("checksum that begins with 00", search("two zeros", "00.{4}"))
    good("checksum near the largest, 4gfFC3", search("large", "4g.{4}"))
    good("random part of zeros", make("", random="0" * 32))
    good("random part of the last digit", make("", random="z" * 32))
    good("random part of digits only", make("", random="01234567890123456789012345678901"))
    good("random part that holds the prefix", make("", random="acme" + random_part("holds")[4:]))


def write_damaged():
    key = make("damaged")
    bad("one character changed in the random part", key[:9] + ("B" if key[9] == "A" else "A") + key[10:], "checksum")
    bad("last character changed", key[:-1] + ("B" if key[-1] == "A" else "A"), "checksum")
    at = next(i for i in range(5, 37) if key[i].isalpha())
    bad("one letter's case changed", key[:at] + key[at].swapcase() + key[at + 1 :], "checksum")
    bad("upper case", key[:5] + key[5:].upper(), "checksum")
    bad("lower case", key[:5] + key[5:].lower(), "checksum")
    bad("neighbours swapped", key[:12] + key[13] + key[12] + key[14:], "checksum")
    bad("random part reversed", key[:5] + key[36:4:-1] + key[-6:], "checksum")
    bad("another prefix before the same tail", "a" + key[4:], "checksum")
    bad("another key's checksum", key[:-6] + make("another")[-6:], "checksum")
    bad("last character missing", key[:-1], "length")
    bad("first character of the random part missing", key[:5] + key[6:], "length")
    bad("without its checksum", key[:-6], "length")
    bad("half of it", key[:21], "length")
    bad("one character too many", key + "0", "length")
    bad("twice", key + key, "length")
    bad("newline behind it", key + "\n", "alphabet")
    bad("space before it", " " + key, "alphabet")
    bad("space inside", key[:20] + " " + key[21:], "alphabet")
    bad("quoted", '"' + key + '"', "alphabet")
    bad("NUL behind it", key + "\0", "alphabet")
    bad("fullwidth digit inside", key[:20] + "\uff11" + key[21:], "alphabet")
    bad("zero-width space inside", key[:20] + "\u200b" + key[20:], "alphabet")


def write_wrong_checksum():
    start = "acme_" + random_part("wrong checksum")
    crc = zlib.crc32(start.encode())
    other = DIGITS[10:] + DIGITS[:10]
    bad("checksum plus 2^32", start + base62(crc + 2**32, 6), "checksum")
    bad("checksum backwards", start + check(start)[::-1], "checksum")
    bad("checksum of the random part alone", start + check(start[5:]), "checksum")
    bad("checksum with the digits in another order", start + base62(crc, 6, other), "checksum")
    bad("checksum in hex", start + f"{crc:08x}", "length")
    bad("CRC-32C", start + base62(crc32c(start.encode()), 6), "checksum")
    short = search("unpadded", "0.{5}")
    bad("checksum without its leading zero", short[:-6] + short[-5:], "length")
    for counts, last, step in [(255, "7", -4), (-1, "z", 1)]:  # 62 a + counts is 62 (a - step) + last
        key = search(f"counts {counts}", f".{{4}}[5-9A-Z]{last}")
        digit = DIGITS[DIGITS.index(key[-2]) + step]
        bad(f"checksum with a ! that counts {counts}", key[:-2] + digit + "!", "alphabet")
    bad("random part with -", "acme_" + "-" * 32 + check("acme_" + "-" * 32), "alphabet")
    bad("random part with _", "acme_" + "_" * 32 + check("acme_" + "_" * 32), "alphabet")


def write_wrong_prefix():
    for name, prefix in [
        ("prefix of 21 characters", "tokenauthtest_0000021"),
        ("prefix that starts with a digit", "1acme"),
        ("prefix that starts with _", "_acme"),
        ("prefix that ends in _", "acme_"),
        ("prefix in upper case", "ACME"),
        ("prefix with a hyphen", "ac-me"),
        ("prefix with a dot", "ac.me"),
        ("prefix beyond ASCII", "acm\u00e9"),
        ("no prefix", ""),
    ]:
        bad(name, make(name, prefix), "prefix")
    bad("no prefix and no underscore", make("")[5:], "prefix")
    bad("hyphen for the underscore", make("hyphen").replace("_", "-"), "prefix")


def write_foreign():
    bad("empty", "", "length")
    bad("only a prefix", "acme", "length")
    bad("only a prefix and the underscore", "acme_", "length")
    bad("only underscores", "_" * 43, "prefix")
    bad("40 hex", hashlib.sha1(b"40 hex").hexdigest(), "foreign")
    bad("64 hex", hashlib.sha256(b"64 hex").hexdigest(), "foreign")
    bad("number, bar, text", "12|" + random_part("bar") + random_part("bar more")[:8], "foreign")
    bad("base64url of 32 bytes", "-_" + random_part("base64url") + "AbCdEfGh-", "foreign")
    bad("base64 with padding", "AAECAwQFBgcICQoLDA0ODw==", "foreign")
    bad("UUID", "00000000-0000-4000-8000-000000000000", "foreign")
    bad("three parts with dots", "eyJhbGciOiJub25lIn0.e30.", "foreign")
    bad("snowman", "\u2603" * 20, "foreign")


write_good()
write_damaged()
write_wrong_checksum()
write_wrong_prefix()
write_foreign()
assert len({v["name"] for v in vectors}) == len({v["key"] for v in vectors}) == len(vectors)
print(json.dumps(vectors, indent=1))
