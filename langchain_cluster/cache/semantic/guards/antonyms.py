"""Opposites are near each other in any embedding, and their answers are opposites too."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_cluster.cache.semantic.guards.words import Words, stem

_PAIRS = """
    open/closed open/close opened/closed opening/closing safe/unsafe safe/dangerous allow/ban allow/forbid
    allow/prohibit allowed/banned allowed/prohibited allowed/forbidden permit/ban permitted/prohibited
    subscribe/unsubscribe benefit/drawback benefit/downside benefit/risk benefit/disadvantage
    advantage/disadvantage advantage/drawback pro/con strength/weakness lock/unlock mute/unmute block/unblock
    hot/cold warm/cold hot/cool accept/decline accept/reject accept/refuse approve/reject approve/deny
    approve/decline upgrade/downgrade pass/fail add/remove add/delete add/withdraw payin/withdraw
    deposit/withdraw deposit/withdrawal compulsory/optional mandatory/optional required/optional
    enrol/withdraw join/leave successful/unsuccessful succeed/fail success/failure legal/illegal
    lawful/unlawful included/excluded include/exclude increase/decrease increase/reduce raise/lower
    higher/lower high/low higher/smaller bigger/smaller larger/smaller more/less more/fewer most/least
    most/fewest best/worst better/worse good/bad outstanding/inadequate pause/resume stop/start start/end
    begin/end start/stop start/finish start/cancel before/after under/over above/below within/after
    minimum/maximum min/max first/last early/late earlier/later earliest/latest buy/sell buying/selling
    send/receive sent/received sending/receiving import/export upload/download login/logout enter/exit
    enter/leave arrive/depart arrival/departure arriving/leaving arrives/departs come/go left/right
    up/down in/out inside/outside indoor/outdoor indoors/outdoors on/off turnon/turnoff enable/disable
    enabled/disabled activate/deactivate active/inactive connect/disconnect install/uninstall
    attach/detach encrypt/decrypt show/hide visible/hidden public/private shared/private free/paid
    cheap/expensive cheapest/dearest cheaper/dearer fast/slow faster/slower quick/slow short/long
    shorter/longer shortest/longest light/heavy lighter/heavier new/old newest/oldest newer/older
    young/old younger/older
    full/empty full-time/part-time full/part debit/credit borrow/lend lend/borrow owe/own win/lose
    won/lost winner/loser find/lose push/pull import/export male/female man/woman men/women boy/girl
    husband/wife mother/father son/daughter brother/sister left-handed/right-handed internal/external
    domestic/international national/international home/international home/overseas local/international
    domestic/foreign inbound/outbound incoming/outgoing single/return oneway/return one-way/return
    departure/return income/expense profit/loss gain/lose gain/loss create/delete create/remove
    create/cancel make/cancel book/cancel confirm/cancel keep/cancel renew/cancel keep/delete save/delete
    save/spend hire/fire appoint/dismiss wet/dry raw/cooked sweet/savoury hard/soft easy/difficult
    easy/hard simple/complex strong/weak positive/negative true/false correct/incorrect right/wrong
    valid/invalid possible/impossible able/unable likely/unlikely known/unknown same/different alive/dead
    employer/employee landlord/tenant buyer/seller lender/borrower teacher/student doctor/patient
    sender/recipient sender/receiver parent/child adult/child check-in/check-out opt-in/opt-out
    claim/approve eat/avoid include/omit with/without increase/lower gross/net fixed/variable
    permanent/temporary direct/indirect morning/evening am/pm day/night north/south east/west summer/winter
    entitled/disqualified eligible/ineligible qualify/disqualify transferable/non-transferable
    top-up/withdraw sunrise/sunset virtual/physical contactless/chip weekday/weekend
"""
_PREFIXES = ("un", "non-", "non", "in", "im", "ir", "il", "dis", "de", "mis")
_OPPOSITE: dict[str, set[str]] = {}
for _pair in _PAIRS.split():
    _one, _other = _pair.split("/")
    for _a in {_one, stem(_one)}:
        for _b in {_other, stem(_other)}:
            _OPPOSITE.setdefault(_a, set()).add(_b)
            _OPPOSITE.setdefault(_b, set()).add(_a)


@dataclass(frozen=True, slots=True)
class Sides:
    """The words of a question, as they are and as stems, and what would contradict them."""

    words: frozenset[str]
    opposites: frozenset[str]


class Antonyms:
    """Pairs such as open and closed, and "un-", "non-", "dis-" before a word."""

    name = "antonyms"

    def read(self, words: Words) -> Sides:
        """The words and their opposites."""
        known = frozenset(words.lower) | frozenset(stem(word) for word in words.lower)
        opposites: set[str] = set()
        for word in known:
            opposites |= _OPPOSITE.get(word, _NOTHING)
            if len(word) >= 4:
                opposites.update(prefix + word for prefix in _PREFIXES)
        return Sides(known, frozenset(opposites))

    def differ(self, one: Sides, other: Sides) -> bool:
        """Whether one has a word, and the other its opposite instead of it."""
        return _contradicts(one, other) or _contradicts(other, one)


_NOTHING: frozenset[str] = frozenset()


def _contradicts(one: Sides, other: Sides) -> bool:
    # What both have is no difference: "open a closed account" says both, and so may the other.
    new = (one.opposites & other.words) - one.words
    return bool(new) and any(_turned(word, one, other) for word in new)


def _turned(word: str, one: Sides, other: Sides) -> bool:
    """Whether what `word` of the other contradicts in this one is not in the other as well."""
    contradicted = set(_OPPOSITE.get(word, _NOTHING))
    contradicted |= {word[len(prefix) :] for prefix in _PREFIXES if word.startswith(prefix)}
    return any(known in one.words and known not in other.words for known in contradicted)
