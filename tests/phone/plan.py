"""Writes src/mapping/ometria_contact/phone/plan.bin: the numbering plans of all countries.

Usage: pip install phonenumbers==9.0.43; python tests/phone/plan.py

The plans are the metadata of libphonenumber (Apache License 2.0, copyright the libphonenumber authors), taken
from its port to Python. Each pattern becomes a part of one automaton, so that nothing is compiled when importer
starts. src/mapping/ometria_contact/phone/plan.rs reads the file and describes its layout.
"""

import itertools
import os
import re._parser as parser
import struct

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE as REGIONS_OF_CODE
from phonenumbers.phonemetadata import PhoneMetadata

PLAN = os.path.join(os.path.dirname(__file__), "../../src/mapping/ometria_contact/phone/plan.bin")
TYPES = "fixed_line mobile toll_free premium_rate shared_cost voip personal_number pager uan voicemail".split()
DIGITS = frozenset(range(10))
LABELS = 64  # References below are labels.
ACCEPT = 1


# Patterns. A pattern is an ordered list of ways to match: each is a tuple of sets of digits, a dictionary of
# the captured groups, and whether the text has to end there.


def ways(tree, at=0):
    """Returns the ways to match a parsed pattern, in the order in which a matcher tries them."""
    found = [((), {}, False)]
    for op, argument in tree:
        longer = []
        for sets, groups, end in found:
            for more, inner, ends in item(op, argument, at + len(sets)):
                longer.append((sets + more, {**groups, **inner}, end or ends))
        found = longer
    return found


def item(op, argument, at):
    name = str(op)
    if name == "LITERAL":
        return [((frozenset([argument - 48]),), {}, False)]
    if name == "IN":
        return [((members(argument),), {}, False)]
    if name == "AT":
        assert str(argument) == "AT_END", argument
        return [((), {}, True)]
    if name == "SUBPATTERN":
        group, _, _, tree = argument
        inner = ways(tree, at)
        if group is None:
            return inner
        return [(sets, {**groups, group: (at, at + len(sets))}, end) for sets, groups, end in inner]
    if name == "BRANCH":
        return [way for tree in argument[1] for way in ways(tree, at)]
    if name == "MAX_REPEAT":
        least, most, tree = argument
        return [way for times in range(most, least - 1, -1) for way in ways(list(tree) * times, at)]
    raise ValueError(f"{op} is not supported")


def members(argument):
    found = set()
    for op, value in argument:
        if str(op) == "LITERAL":
            found.add(value - 48)
        elif str(op) == "RANGE":
            found.update(range(value[0] - 48, value[1] - 47))
        elif str(op) == "CATEGORY":
            found.update(DIGITS)
        else:
            raise ValueError(f"{op} is not supported")
    return frozenset(found)


def whole(desc):
    """Returns the sequences that match a description as a whole."""
    if desc is None or not desc.national_number_pattern or desc.possible_length == (-1,):
        return frozenset()
    lengths = desc.possible_length
    found = ways(parser.parse(desc.national_number_pattern))
    return frozenset(sets for sets, _, _ in found if not lengths or len(sets) in lengths)


def general(metadata):
    """The general description counts without its lengths, as in libphonenumber."""
    return frozenset(sets for sets, _, _ in ways(parser.parse(metadata.general_desc.national_number_pattern)))


def after(sequences, digit):
    return frozenset(rest[1:] for rest in sequences if rest and digit in rest[0])


# The automaton. A node is its label at the end of the text and its ten children; equal nodes are one.


class Automaton:
    def __init__(self):
        self.words, self.nodes = [0] * LABELS, {}

    def node(self, label, children):
        if all(child == label for child in children):
            return label
        key = (label, children)
        if key not in self.nodes:
            runs = [digit for digit in range(10) if digit == 0 or children[digit] != children[digit - 1]]
            self.nodes[key] = len(self.words)
            self.words.append(label << 10 | sum(1 << digit for digit in runs))
            self.words.extend(children[digit] for digit in runs)
        return self.nodes[key]

    def build(self, state, step, label, memo):
        """Returns the node of a state. `step(state, digit)` is None if nothing more can match."""
        if state not in memo:
            children = tuple(
                0 if (next := step(state, digit)) is None else self.build(next, step, label, memo)
                for digit in range(10)
            )
            memo[state] = self.node(label(state), children)
        return memo[state]


def acceptor(automaton, sequences):
    return automaton.build(sequences, lambda s, d: after(s, d) or None, lambda s: int(() in s), {})


def validity(automaton, regions):
    """Accepts what `is_valid_number` accepts for a calling code with these regions, in their order."""

    def start(metadata):
        types = frozenset().union(*(whole(getattr(metadata, kind)) for kind in TYPES))
        lead = metadata.leading_digits
        lead = lead and frozenset(sets for sets, _, _ in ways(parser.parse(lead)))
        return types, general(metadata), lead

    def step(state, digit):
        found = []
        for types, any_type, lead in state:
            if lead not in (None, True):
                lead = () in lead or after(lead, digit)
            found.append((after(types, digit), after(any_type, digit), lead))
        return tuple(found) if any(types for types, _, _ in found) else None

    def label(state):
        for types, any_type, lead in state:
            valid = () in types and () in any_type
            chosen = valid if lead is None else lead is True or () in lead
            if chosen:
                return int(valid)
        return 0

    return automaton.build(tuple(start(region) for region in regions), step, label, {})


class Rules:
    """What to do with a prefix: the new beginning, then the digits from `a` to `b`, then those from `c`."""

    def __init__(self):
        self.rules = {("", 0, 0, 0): 0}

    def number(self, *rule):
        return self.rules.setdefault(rule, len(self.rules))

    def rule(self, way, transform, groups):
        sets, captured, _ = way
        if not transform or groups not in captured:
            return self.number("", 0, 0, len(sets))
        text, group = re_transform(transform)
        begin, end = captured[group]
        if end == len(sets):
            return self.number(text, 0, 0, begin)
        return self.number(text, begin, end, len(sets))


def re_transform(transform):
    text, _, group = transform.partition("\\")
    return text, int(group)


def prefix(automaton, rules, pattern, transform=None):
    """Labels a text with the rule of the first way that matches its beginning."""
    if not pattern:
        return 0
    tree = parser.parse(pattern)
    groups = tree.state.groups - 1
    found = [(way[0], rules.rule(way, transform, groups), way[2]) for way in ways(tree)]

    def cut(state):
        """Drops the ways that come after one that has matched for certain."""
        for place, (rest, _, end) in enumerate(state):
            if not rest and not end:
                return state[: place + 1]
        return state

    def step(state, digit):
        kept = []
        for rest, rule, end in state:
            if rest and digit in rest[0]:
                kept.append((rest[1:], rule, end))
            elif not rest and not end:
                kept.append((rest, rule, end))
        return cut(tuple(dict.fromkeys(kept))) or None

    def label(state):
        return next((rule for rest, rule, _ in state if not rest), 0)

    memo = {}

    def build(state):
        if len(state) == 1 and not state[0][0] and not state[0][2]:
            return state[0][1]
        if state not in memo:
            children = tuple(build(next) if (next := step(state, digit)) else 0 for digit in range(10))
            memo[state] = automaton.node(label(state), children)
        return memo[state]

    return build(cut(tuple(dict.fromkeys(found))))


def row(automaton, rules, metadata, valid):
    lengths, local = metadata.general_desc.possible_length, metadata.general_desc.possible_length_local_only
    most = max(lengths)
    taken = sum(1 << n for n in range(32) if n not in local and (n in lengths or n > most))
    return struct.pack(
        "<HHHHHHI",
        metadata.country_code,
        acceptor(automaton, general(metadata)),
        prefix(automaton, rules, metadata.national_prefix_for_parsing, metadata.national_prefix_transform_rule),
        prefix(automaton, rules, metadata.international_prefix),
        valid,
        most,
        taken,
    )


def main():
    automaton, rules = Automaton(), Rules()
    letters, codes, rows = bytearray(26 * 26), bytearray(1000), []
    for code, regions in sorted(REGIONS_OF_CODE.items()):
        plans = [PhoneMetadata.metadata_for_region_or_calling_code(code, region) for region in regions]
        valid = validity(automaton, plans)
        for region, plan in zip(regions, plans):
            rows.append(row(automaton, rules, plan, valid))
            codes[code] = codes[code] or len(rows)
            if region.isalpha():
                letters[(ord(region[0]) - 65) * 26 + ord(region[1]) - 65] = len(rows)
    assert len(rows) < 256 and len(rules.rules) <= LABELS and len(automaton.words) < 1 << 16
    version = f"libphonenumber {phonenumbers.__version__}, Apache-2.0".encode().ljust(64)
    listed = [
        text.encode().ljust(4, b"\0") + bytes([len(text), a, b, c])
        for text, a, b, c in itertools.chain(rules.rules, [("", 0, 0, 0)] * (LABELS - len(rules.rules)))
    ]
    empty = bytes(16) * (256 - len(rows) - 1)
    with open(PLAN, "wb") as out:
        out.write(version + letters + codes + bytes(16) + b"".join(rows) + empty + b"".join(listed))
        out.write(struct.pack(f"<{len(automaton.words)}H", *automaton.words))
    print(f"{len(rows)} plans, {len(rules.rules)} rules, {len(automaton.words)} words")


main()
