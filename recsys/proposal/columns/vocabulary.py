"""What columns are called in public data sets and in people's exports."""

from __future__ import annotations

import re
from typing import Final, Literal

from recsys.proposal.columns.translations import english

Role = Literal["time", "user", "item", "request", "label", "rating", "action", "shown", "clicked"]

_WORDS: Final[dict[Role, tuple[str, str]]] = {
    # role: (words that say it, words that may mean it)
    "time": (
        "timestamp time datetime ts t date at",
        "day hour created utc when epoch occurred logged moment",
    ),
    "user": (
        "user uid visitor customer member reviewer viewer listener shopper buyer subscriber userid visitorid household",
        "person client cookie account profile player distinct consumer anonymous guest device session reader people",
    ),
    "item": (
        "item iid article product movie video song track artist asin isbn news ad creative book sku anime recipe "
        "itemid goods",
        "doc document content post game app listing hotel story media offer photo business poi venue clip show podcast "
        "episode deal restaurant page beer job course candidate banner parent prod prop url property stock aid adgroup "
        "bookmark",
    ),
    "request": (
        "request req impression imp query search srch recommendation rec slate ranking reqid qid requestid pageview",
        "session list auction display exposure",
    ),
    "label": (
        "label click clicked clicks target clk tapped",
        "purchase purchased like liked conversion converted y bought outcome response positive install "
        "recommended order ordered buy cart favorite follow share comment interested engaged",
    ),
    "rating": (
        "rating ratings stars star score overall grade",
        "value preference vote votes",
    ),
    "action": (
        "event action behavior behaviour feedback interaction activity",
        "type kind name category verb",
    ),
    "shown": (
        "shown items impressions inview candidates recommended slate displayed exposed products articles presented "
        "recommendations list impression item product article",
        "ids movies videos ads results",
    ),
    "clicked": ("clicked clicks", "selected chosen engaged consumed liked bought purchased"),
}
DEEDS: Final = {
    "booked": "book", "booking": "book", "bookings": "book", "reserved": "reserve", "reservation": "reserve",
    "subscribed": "subscribe", "subscription": "subscribe", "applied": "apply", "application": "apply",
    "hired": "hire", "rented": "rent", "installed": "install", "watched": "watch", "played": "play", "read": "read",
    "listened": "listen", "streamed": "stream", "saved": "save", "downloaded": "download", "download": "download",
    "registered": "register", "registration": "register", "enrolled": "enroll", "enrollment": "enroll",
    "enrolment": "enroll", "paid": "pay", "payment": "pay", "redeemed": "redeem", "redemption": "redeem",
    "opened": "open", "accepted": "accept", "visited": "visit", "joined": "join", "attended": "attend",
    "completed": "complete", "finished": "finish", "followed": "follow", "shared": "share", "commented": "comment",
    "replied": "reply", "answered": "answer", "contacted": "contact", "called": "call", "favorited": "favorite",
    "favourited": "favorite", "bookmarked": "bookmark", "wishlisted": "wishlist", "upvoted": "upvote",
    "reposted": "repost", "retweeted": "retweet", "swiped": "swipe", "tapped": "tap", "borrowed": "borrow",
    "donated": "donate", "tried": "try", "added": "add", "responded": "respond", "loved": "love",
}  # fmt: skip
"""Actions by further words for what a user does with an item, which may call a label."""
_STRONG: Final = {role: frozenset(strong.split()) for role, (strong, _) in _WORDS.items()}
_WEAK: Final = {role: frozenset(weak.split()) for role, (_, weak) in _WORDS.items()}
_WEAK["label"] |= DEEDS.keys()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TRUTHS: Final = {
    "true": "false", "yes": "no", "y": "n", "t": "f", "on": "off", "ja": "nein", "oui": "non", "si": "no", "sí": "no",
    "sim": "não", "wahr": "falsch", "vrai": "faux", "да": "нет", "так": "ні", "tak": "nie", "evet": "hayır",
    "نعم": "لا", "是": "否", "はい": "いいえ", "예": "아니오",
}  # fmt: skip
"""Words for yes, with those for no."""
FALSE_WORDS: Final = frozenset({*TRUTHS.values(), "nee", "nej", "nei", "nao", "hayir"})
AFTER: Final = _words(
    "dwell watch watched read reading play played playtime listen listened scroll engagement view stay finish "
    "completion clicked click like liked share shared follow comment purchase conversion converted bought order "
    "transaction invoice quantity skip skipped hate hated hide dislike disliked helpful useful vote votes upvotes"
)
"""Words of what is known only after an item was shown, which a model must not read."""
NOT_EVENT: Final = _words(
    "publish published publication release released birth birthday signup registered updated open year expiry end"
)
"""Words of times that are not those of the event."""
SHOWN_ACTIONS: Final = _words("impression impressions show shown exposure exposed display displayed served imp")
"""Actions that say that an item was shown, no more."""


ACTIONS: Final = _words(
    "view viewed click clicked buy bought cart addtocart purchase purchased transaction pv fav like liked favourite "
    "favorite play played skip share shared comment follow bookmark watch watched order ordered checkout star read "
    "download install complete finish rate rating list select impression show exposure ranking interaction dislike "
    "save clicks carts orders views purchases likes plays shares"
)
"""Words among the values of a column of actions."""
VERBS: Final = {
    "bought": "buy", "liked": "like", "purchased": "purchase", "ordered": "order", "shared": "share",
    "watched": "watch", "played": "play", "viewed": "view", "favourite": "favorite", "fav": "favorite", **DEEDS,
}  # fmt: skip
"""Actions by the words of columns that say that they were done."""
_CLICKED: Final = _words("click clicked view conversion purchase")
"""Words of rates that are those of an item: how often it was clicked."""
_SHARES: Final = _words("ratio rate share fraction percent percentage pct")
PROPERTY: Final = _words(
    "country city region location state zip postal age gender type category categorie cat genre level brand class kind"
)
"""Words of what is known of a user or an item, rather than its name, such as `product_category_id`."""
POSITION: Final = _words("position rank slot")
"""Words of the place in the list, which nobody knows before the list is made."""
NOT_POSITIVE: Final = _words(
    "dislike skip skipped unlike unfollow remove removed hide report block refund return removefromcart"
)
"""Actions that say that the user did not want the item."""
UNDONE: Final = _words("unlike unfollow remove removed refund return removefromcart")
"""Those of them that follow on an action, so that rows with them are events."""
VIEWED: Final = _words("view viewed pv seen impressed")
"""Actions that say no more than that an item was looked at, where rows with others say more."""
REFUSED: Final = _words(
    "no not non never without none nothing ignore ignored dismiss dismissed pass passed bounce bounced reject rejected "
    "abandon abandoned miss missed skipped disliked hidden unseen noclick negative neg bad fail failed"
)
"""Words of labels that mean no."""
DONE: Final = _words(
    "yes true convert converted conversion engage engaged accept accepted choose chosen selected listened completed "
    "finished saved downloaded installed positive pos good success"
)
"""Words of labels that mean yes, beside those of actions."""
TEXTS: Final = _words(
    "title text description desc review comment summary headline body address steps message caption abstract name"
)
"""Words of columns of text, whose commas and spaces stand between words."""
HISTORY: Final = _words("history hist past previous recent last prior profile interests preferences")
"""Words of lists that stood before the event."""


def tokens(name: str) -> list[str]:
    """The words of a name, in lower case.

    >>> tokens("userId"), tokens("visitorid"), tokens("properties.products.product_id")
    (['user', 'id'], ['visitor', 'id'], ['properties', 'products', 'product', 'id'])
    >>> tokens("Kundennummer"), tokens("用户ID")
    (['user', 'number'], ['user', 'id'])
    """
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    written = re.findall(r"[぀-힯]+|[^\W\d_぀-힯]+|\d+", spaced.lower())
    words = [part for word in written for part in english(word)]
    found: list[str] = []
    for word in words:
        stem = re.sub(r"(ids?)$", "", word)
        found += [stem, "id"] if stem != word and (_in_any(stem) or stem in AFTER) else [word]
    return found


def _in_any(word: str) -> bool:
    return any(word in words for table in (_STRONG, _WEAK) for words in table.values())


def known(name: str) -> bool:
    """Whether a name has a word of any role."""
    return any(_in_any(word) for word in tokens(name))


def seen_share(name: str) -> bool:
    """Whether a name says which part of an item was watched or read, such as `watch_ratio`."""
    words = set(tokens(name))
    return bool(words & AFTER and words & _SHARES and not words & _CLICKED)


CLEARLY: Final = 2.0
"""What `says` is at least of a name that leaves no doubt."""


def says(role: Role, name: str) -> float:
    """How clearly a name says a role: 0 for not at all, 3 for the very word, alone or with `id`.

    >>> says("user", "user_id"), says("user", "user_age"), says("user", "user_pseudo_id"), says("time", "created_at")
    (3.0, 0.0, 2.0, 2.0)
    >>> says("user", "context.visitor.id"), says("user", "context.device")
    (3.0, 1.5)
    >>> says("label", "is_booking"), says("label", "booked_flag"), says("label", "booking_price")
    (1.5, 1.5, 1.0)
    """
    words, core = _said_by(name.rpartition(".")[2])
    core = [word for word in core if word not in _FLAG] if role == "label" else core
    if words in (["uuid"], ["guid"]) and role == "user":  # such as Outbrain's; of rows it would be unique
        return 1.0
    if not core:  # such as `id` alone: of what is said before it
        words, core = _said_by(" ".join(name.split(".")[-2:]))
    if role in _IDENTIFIERS and PROPERTY.intersection(core):
        return 0.0
    named = len(core) < len(words)
    strong, weak = _STRONG[role], _WEAK[role]
    if core and all(word in strong for word in core):
        return 2.5 if named and "id" not in words and role in _IDENTIFIERS else 3.0
    whole = role not in _IDENTIFIERS or named
    if any(word in strong for word in core):
        return 2.0 if whole else 0.0
    if any(word in weak for word in core):
        return 1.5 if len(core) == 1 else 1.0 if whole else 0.0
    return 1.0 if not core and any(word in strong for word in tokens(name)) else 0.0


def _said_by(part: str) -> tuple[list[str], list[str]]:
    """The words of a part of a name, and those of them that do not just say that it names something."""
    words = [word for word in tokens(part) if word not in ("is", "has")]
    return words, [word for word in words if word not in _NAMING]


_IDENTIFIERS: Final = ("user", "item", "request")
_NAMING: Final = _words("id ids name hash key code no num number idx index uuid guid token")
"""Words that say that a column names something."""
_FLAG: Final = _words("flag indicator ind did was")
"""Words that say that a column of a label has yes or no."""
