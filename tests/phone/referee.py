"""Writes tests/phone/numbers.tsv: what Google's libphonenumber says of phone numbers of all regions.

Usage: pip install phonenumbers==9.0.43; python tests/phone/referee.py [EVERY] > tests/phone/numbers.tsv

The referee is the port of libphonenumber to Python, with the rules that src/mapping/ometria_contact/phone.rs
adds: at least 5 digits, no extension, 7 to 15 digits with the country code. EVERY is the share of the numbers
that is written, one in EVERY; 1 writes all.
"""

import random
import sys
import unicodedata

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType
from phonenumbers.phonemetadata import PhoneMetadata

TYPES = [kind for kind in PhoneNumberType.values() if kind != PhoneNumberType.UNKNOWN]
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
random.seed(17)


def verdict(text, region):
    """Returns the number in E.164, or why there is none."""
    if sum(unicodedata.category(c) == "Nd" for c in text) < 5:
        return "not_a_number"
    try:
        number = phonenumbers.parse(text, region or None)
    except NumberParseException:
        return "not_a_number" if region in REGIONS or "+" in text else "no_country_code"
    if number.extension:
        return "has_an_extension"
    written = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    fits = 7 <= len(written) - 1 <= 15
    return written if fits and phonenumbers.is_valid_number(number) else "not_a_number"


def examples():
    """Yields the region and the national number of each example in the metadata."""
    for region in REGIONS:
        metadata = PhoneMetadata.metadata_for_region(region)
        seen = set()
        for kind in TYPES:
            example = phonenumbers.example_number_for_type(region, kind)
            if example and str(example) not in seen:
                seen.add(str(example))
                yield region, metadata, example
    for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS:
        example = phonenumbers.example_number_for_non_geo_entity(code)
        if example:
            yield "", PhoneMetadata.metadata_for_nongeo_region(code), example


def forms(region, metadata, number):
    """Yields texts of a number, and texts that are almost the number."""
    form = lambda style: phonenumbers.format_number(number, style)
    plain = phonenumbers.national_significant_number(number)
    code = str(number.country_code)
    prefix = metadata.national_prefix or ""
    other = random.choice(REGIONS)
    other_code = str(phonenumbers.country_code_for_region(other))
    last = str((int(plain[-1]) + 1) % 10)
    place = random.randrange(len(plain))
    yield from ((region, form(style)) for style in (0, 1, 2, 3))
    yield from ((other, form(style)) for style in (0, 1, 2))
    yield from (("", text) for text in (form(0), form(1), form(2), plain, "+" + prefix + plain))
    for text in (
        plain,
        prefix + plain,
        "0" + plain,
        "1" + plain,
        "8" + plain,
        code + plain,
        code + prefix + plain,
        "00" + code + plain,
        "011" + code + plain,
        "+" + code + " (" + (prefix or "0") + ") " + plain,
        "++" + code + plain,
        "+" + plain,
        "+" + other_code + plain,
        other_code + plain,
        plain[:-1],
        plain[1:],
        plain + "0",
        "9" + plain,
        plain[:-1] + last,
        plain[:place] + str(random.randrange(10)) + plain[place + 1 :],
        plain[:place] + plain[place + 1 :],
        "+" + code + plain[:-1],
        "+" + code + plain + "5",
        "+" + code + "0" + plain,
        plain[:2] + "-" + plain[2:5] + "." + plain[5:],
        "(" + plain[:3] + ") " + plain[3:] + ".",
        "Tel: " + plain,
        "tel:+" + code + "-" + plain,
        plain + " x12",
        plain + ",,12",
        plain + " ext. 5",
        plain[:4] + "/" + plain[4:],
        plain + " (home)",
        plain + "/" + plain,
        plain[:-3] + "".join(random.choice("ADGJMPTW") for _ in range(3)),
        "".join(chr(0x0660 + int(c)) for c in plain),
        "\uff0b" + code + "".join(chr(0xFF10 + int(c)) for c in plain),
        "".join(random.choice("0123456789") for _ in range(random.randrange(5, 16))),
    ):
        yield region, text
    for _ in range(4):
        mutated = list(plain)
        for _ in range(random.randrange(1, 4)):
            mutated[random.randrange(min(5, len(mutated)))] = random.choice("0123456789")
        yield region, prefix + "".join(mutated)


def main():
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    out = open(sys.stdout.fileno(), "w", encoding="utf-8", newline="\n")
    print(f"# What phonenumbers {phonenumbers.__version__} says of texts; made by tests/phone/referee.py", file=out)
    rows = [(region, text) for example in examples() for region, text in forms(*example)]
    rows = list(dict.fromkeys(rows))
    if every > 1:
        rows = sorted(random.sample(rows, len(rows) // every))
    for region, text in rows:
        print(region, text, verdict(text, region), sep="\t", file=out)


main()
