"""English words by what they do in a question. Data, no decisions."""

from __future__ import annotations


def listed(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


STOP = frozenset(
    listed(
        """
    a an the this that these those there here i me my mine we us our ours you your yours he him his she
    her hers it its they them their theirs who whom whose which what when where why how be am is are was
    were been being do does did done doing have has had having can could may might must shall should
    will would to of in on at by for with from into onto about as and or but if then than so such just
    also only very really actually still any some all each get got getting go going gone way ways thing
    things please want need needs needed needing like know tell give show help let allow allowed able
    possible possibly exactly ok okay s t up out off over under between per via own ever yet now one
    ones much many far long often possible happen happens happened come came take takes took make makes
    made work works working use used using find found look looking put see say says said keep keeps kept
    mean means try trying tried think thing someone somebody something anyone anybody anything else too
    more most bit lot sure
    """
    )
)
"""Words that carry the grammar, and verbs so common that they say little."""

FILLERS = frozenset(
    listed(
        """
    um uh er erm hmm ah oh hi hello hey there morning afternoon evening good greetings thanks thank
    cheers please sorry bother quick question team many kindly dear sir madam mate folks guys ta regards
    well
    """
    )
)
"""Words of courtesy and hesitation."""

CONTRACTIONS = {
    "can't": "can not", "cannot": "can not", "won't": "will not", "shan't": "shall not", "ain't": "is not",
    "i'm": "i am", "let's": "let us", "what's": "what is", "where's": "where is", "who's": "who is",
    "how's": "how is", "when's": "when is", "it's": "it is", "that's": "that is", "there's": "there is",
    "cant": "can not", "dont": "do not", "doesnt": "does not", "didnt": "did not", "wont": "will not",
    "isnt": "is not", "wasnt": "was not", "havent": "have not", "hasnt": "has not", "couldnt": "could not",
    "shouldnt": "should not", "wouldnt": "would not", "arent": "are not", "werent": "were not",
}  # fmt: skip

PHRASES = (
    ("wi fi", "wifi"), ("wi-fi", "wifi"), ("e-mail", "email"), ("log in", "login"), ("log into", "login"),
    ("sign in", "login"), ("sign into", "login"), ("top up", "top-up"), ("topup", "top-up"),
    ("check in", "check-in"), ("check out", "check-out"), ("set up", "setup"), ("turn off", "turnoff"),
    ("turn on", "turnon"), ("switch off", "turnoff"), ("switch on", "turnon"), ("opt in", "opt-in"),
    ("opt out", "opt-out"), ("take out", "withdraw"), ("pay in", "payin"), ("pay into", "payin"),
    ("close down", "close"), ("shut down", "close"), ("full time", "full-time"), ("part time", "part-time"),
    ("sign up", "signup"), ("log out", "logout"), ("sign out", "logout"), ("carry on", "continue"),
    ("last minute", "last-minute"), ("phone number", "phonenumber"), ("self employed", "self-employed"),
    ("used to", "formerly"), ("no more than", "atmost"), ("no less than", "atleast"),
    ("no fewer than", "atleast"), ("more than", "over"), ("greater than", "over"), ("less than", "under"),
    ("fewer than", "under"), ("all but", "except"), ("everything but", "except"), ("anything but", "except"),
    ("apart from", "except"), ("other than", "except"), ("at least", "atleast"),
    ("at most", "atmost"), ("no longer", "not"), ("instead of", "instead"),
)  # fmt: skip
"""Phrases that are read as one word, longest meaning first."""

IRREGULAR = {
    "children": "child", "men": "man", "women": "woman", "people": "person", "feet": "foot", "wives": "wife",
    "bought": "buy", "sold": "sell", "paid": "pay", "sent": "send", "lost": "lose", "stole": "steal",
    "stolen": "steal", "began": "begin", "begun": "begin", "left": "leave", "forgot": "forget",
    "forgotten": "forget", "broke": "break", "broken": "break", "wrote": "write", "written": "write",
    "won": "win", "spent": "spend", "chose": "choose", "chosen": "choose", "drew": "draw", "drawn": "draw",
    "flew": "fly", "flown": "fly", "grew": "grow", "held": "hold", "met": "meet", "ran": "run",
    "built": "build",
    "taken": "take", "gave": "give", "given": "give", "thought": "think", "brought": "bring",
    "caught": "catch",
    "bit": "bite", "bitten": "bite", "beaten": "beat", "taught": "teach", "led": "lead", "hidden": "hide",
    "felt": "feel", "drove": "drive", "driven": "drive", "ate": "eat", "eaten": "eat", "rose": "rise",
    "lives": "life", "knives": "knife", "was": "be", "went": "go",
}  # fmt: skip

GROUPS: tuple[tuple[str, ...], ...] = tuple(
    tuple(line.split())
    for line in """
    buy purchase acquire
    order request
    change update modify alter edit amend
    remove delete erase
    begin start commence
    end finish terminate
    fix repair mend
    cost price fee charge
    money fund funds cash
    transaction payment
    phone telephone mobile cell
    phonenumber telephonenumber
    picture photo image
    job position vacancy
    company business firm employer
    doctor gp physician
    kid child
    adult grown-up
    staff employee worker
    customer client
    colleague coworker co-worker
    partner spouse
    mum mother mom
    dad father
    holiday vacation
    car vehicle automobile
    flat apartment
    film movie
    shop store
    delivery shipping
    deliver ship
    arrive come
    show display
    send post mail dispatch
    transfer move
    wait waiting
    phone call ring
    contact reach
    choose select pick
    help assist assistance support
    problem issue trouble
    error mistake fault
    quick fast rapid
    big large
    small little
    usual normal typical
    near close nearby
    current present
    right correct
    wrong incorrect
    refund reimburse reimbursement
    lift elevator
    rubbish trash garbage
    medicine medication drug
    jab vaccine vaccination
    pharmacy chemist
    agency agent
    verify confirm verification
    identity id
    bill invoice
    receipt proof
    create generate make
    reset recover
    register enrol enroll signup
    reason cause why
    method procedure process step
    include cover
    maximum max most
    minimum min least
    document paperwork
    dispose discard
    permit permission
    steal rob
    secure safe
    obtain receive
    explain describe
    additional extra
    quantity amount
    allowance limit
    location place
    supply provide offer
    withdraw withdrawal
    journey trip
    colour color
    cancel cancellation
    exchange swap
    passcode pin
    password passphrase
    luggage baggage
""".strip().splitlines()
)
"""Words that mean the same in most questions, a group each."""
