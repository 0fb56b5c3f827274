"""Files as public data sets and analytics write them: what is proposed, or what is said that only the user can do."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import InvalidValueError
from recsys.proposal.ingest_trial import Trial, trial
from recsys.proposal.proposal import Proposal, propose
from recsys.proposal.roles.roles import Said

T = 1_600_000_000
ROWS = 240


def at(seconds: int) -> str:
    return datetime.fromtimestamp(T + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def written(folder: Path, name: str, rows: Sequence[dict[str, Any] | str]) -> Path:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def tried(folder: Path, files: Sequence[Path], said: Said | None = None) -> tuple[Proposal, Trial]:
    proposal = propose(files, said or Said())
    return proposal, trial(proposal.config(folder / "recsys.toml"), files)


def analytics(rng: random.Random, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """GA4: lists, orders and what is done with one item, all with their items in a list, and events without items."""
    rows = []
    for n in range(ROWS):
        kind = kinds[n % len(kinds)]
        count = {"page_view": 0, "view_item_list": 5, "purchase": 1 + n % 3}.get(kind, 1)
        items = [{"item_id": f"S{sku}", "price": 5 + sku % 7} for sku in rng.sample(range(25), count)]
        params = [{"key": "ga_session_id", "value": {"int_value": n}}, {"key": "page", "value": {"int_value": 1}}]
        rows.append({"event_timestamp": (T + 20 * n) * 1_000_000, "event_name": kind, "event_params": params,
                     "user_pseudo_id": f"{rng.randrange(30)}.1", "items": items})  # fmt: skip
    return rows


def test_each_item_of_an_order_is_an_event_and_shown_lists_are_left_out(tmp_path: Path) -> None:
    kinds = ["page_view", "view_item_list", "select_item", "add_to_cart", "purchase"]
    rows = analytics(random.Random(3), kinds)
    proposal, found = tried(tmp_path, [written(tmp_path, "ga4.jsonl", rows)])
    (mapping,) = proposal.mappings
    assert (mapping.kind, mapping.columns["item"].value) == ("feedback", "items.item_id")
    assert set(mapping.settings["where"].value["event_name"]) == {"select_item", "add_to_cart", "purchase"}
    assert set(proposal.training["positive"].value) == {"select_item", "add_to_cart", "purchase"}
    assert [one.field for one in mapping.features] == ["item_features.items_price"]
    wanted = sum(len(row["items"]) for row in rows if row["event_name"] in ("select_item", "add_to_cart", "purchase"))
    assert found.counts.read == pytest.approx(wanted, abs=8)  # a pair of rows is a list and a click; some stay alone


def test_lists_alone_are_told_to_lack_clicks(tmp_path: Path) -> None:
    path = written(tmp_path, "ga4.jsonl", analytics(random.Random(3), ["view_item_list"]))
    with pytest.raises(InvalidValueError, match="give the file of their clicks as well"):
        propose([path], Said())


def test_orders_and_clicks_of_one_file_are_two_mappings(tmp_path: Path) -> None:
    rng, rows = random.Random(4), []
    for n in range(ROWS):
        kind = ["Product Viewed", "Order Completed", "Product List Viewed", "page"][n % 4]
        what = [{"product_id": f"p{rng.randrange(20)}"} for _ in range(2)]
        properties = what[0] if kind == "Product Viewed" else {"path": "/"} if kind == "page" else {"products": what}
        rows.append({"type": "page" if kind == "page" else "track", "event": None if kind == "page" else kind,
                     "userId": f"u{rng.randrange(30)}", "timestamp": at(30 * n), "properties": properties})  # fmt: skip
    proposal, found = tried(tmp_path, [written(tmp_path, "track.jsonl", rows)])
    kinds = {mapping.settings["where"].value["event"]: mapping.columns["item"].value for mapping in proposal.mappings}
    assert kinds == {
        "Product Viewed": "properties.product_id",
        "Order Completed": "properties.products.product_id",
    }
    assert found.positives > ROWS / 3


def test_sessions_with_their_events_are_feedback(tmp_path: Path) -> None:
    rng = random.Random(5)
    rows = [{"session": n, "events": [
        {"aid": rng.randrange(40), "ts": (T + 60 * n + k) * 1000, "type": rng.choice(["clicks", "carts", "orders"])}
        for k in range(rng.randrange(2, 6))]} for n in range(ROWS)]  # fmt: skip
    proposal, found = tried(tmp_path, [written(tmp_path, "train.jsonl", rows)])
    (mapping,) = proposal.mappings
    assert {name: mapping.columns[name].value for name in ("time", "user", "item", "action")} == {
        "time": "events.ts", "user": "session", "item": "events.aid", "action": "events.type"}  # fmt: skip
    assert found.positives + found.counts.dead / 2 > ROWS


def test_a_mean_rating_is_a_property_of_the_item(tmp_path: Path) -> None:
    rng = random.Random(6)
    reviews = [{"review_id": f"r{n}", "user_id": f"u{rng.randrange(30)}", "business_id": f"b{rng.randrange(20)}",
                "stars": rng.randrange(1, 6), "date": at(600 * n)} for n in range(ROWS)]  # fmt: skip
    places = [{"business_id": f"b{n}", "city": "Graz" if n % 2 else "Wien", "stars": 3 + n % 3 / 2} for n in range(20)]
    files = [written(tmp_path, "review.json", reviews), written(tmp_path, "business.json", places)]
    proposal, found = tried(tmp_path, files)
    assert [one.kind for one in proposal.mappings] == ["shown", "item"]
    assert "features.stars" in proposal.mappings[1].columns
    assert found.labels == ROWS


def test_true_and_false_of_a_recommendation_is_the_label(tmp_path: Path) -> None:
    rng = random.Random(7)
    rows = [
        f"{rng.randrange(20)},{at(900 * n)[:10]},{rng.choice(['true', 'false'])},{rng.randrange(30)}"
        for n in range(ROWS)
    ]
    proposal, found = tried(tmp_path, [written(tmp_path, "a.csv", ["app_id,date,is_recommended,user_id", *rows])])
    assert proposal.mappings[0].kind == "shown"
    assert found.labels == ROWS


def test_a_users_profile_in_each_event_is_no_list_that_was_shown(tmp_path: Path) -> None:
    rng = random.Random(8)
    rows = [{"profile": [{"item": f"t{rng.randrange(9)}", "groups": [{"count": 1}]}], "url": f"http://a/{rng.randrange(25)}",
             "time": T + 9 * n, "userId": f"c{rng.randrange(30)}"} for n in range(ROWS)]  # fmt: skip
    proposal, found = tried(tmp_path, [written(tmp_path, "20170101", rows)])
    assert (proposal.mappings[0].kind, proposal.mappings[0].columns["item"].value) == ("feedback", "url")
    assert found.positives > ROWS / 3


def test_lists_in_parts_are_joined_with_clicks_of_other_parts(tmp_path: Path) -> None:
    rng, files = random.Random(9), []
    for part in range(4):
        rows = [
            f"r{part}-{n},{T + 60 * n + part},u{n % 17},{'|'.join(f'i{x}' for x in rng.sample(range(20), 4))}"
            for n in range(30)
        ]
        files.append(written(tmp_path, f"part-{part}.csv", ["req,at,user,items", *rows]))
    clicks = [f"r{3 - n % 4}-{n},{T + 60 * n + 9},{rng.choice(['i1', 'i2', 'i3'])}" for n in range(30) if n % 4 != 3]
    files.append(written(tmp_path, "clicks.csv", ["req,at,item", *clicks]))
    proposal, found = tried(tmp_path, files)
    assert [one.kind for one in proposal.mappings] == ["impression", "interaction"]
    assert found.positives


def test_items_keep_their_separator_beside_texts_with_another(tmp_path: Path) -> None:
    rows = [f'r{n},{T + 60 * n},u{n % 7},i{n % 5}|i{5 + n % 4},"big, {n % 3}"' for n in range(60)]
    clicks = [f"r{n},{T + 60 * n + 5},i{n % 5}" for n in range(0, 60, 2)]
    files = [written(tmp_path, "lists.csv", ["req,at,user,items,title", *rows])]
    files.append(written(tmp_path, "clicks.csv", ["req,at,item", *clicks]))
    assert tried(tmp_path, files)[1].labels == 120


def test_fields_are_called_in_the_letters_of_their_language(tmp_path: Path) -> None:
    rng = random.Random(10)
    rows = [
        f"{T + 20 * n},u{rng.randrange(30)},i{rng.randrange(20)},{rng.choice('男女')},{rng.randrange(2)}"
        for n in range(ROWS)
    ]
    proposal, found = tried(tmp_path, [written(tmp_path, "a.csv", ["时间,用户ID,商品ID,性别,点击", *rows])])
    assert [one.name for one in proposal.fields] == ["性别"]
    assert found.labels == ROWS


NETFLIX = [f"{(n - n % 6) // 6}:" if n % 6 == 0 else f"{n},{n % 5 + 1},2005-09-06" for n in range(60)]
PYTHON = ["{'user_id': 'u1', 'reviews': [{'item_id': '1250', 'recommend': True}]}"] * 4
PROPERTIES = [f"{T + n},{n % 9},{'color' if n % 2 else 'size'},v{n % 5} w" for n in range(60)]
HEADERLESS = [f"{n % 20},Game {n % 7},{'play' if n % 2 else 'purchase'},{n % 3}.5" for n in range(60)]


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("data.txt", NETFLIX, "only a script can write the item into each row"),
        ("reviews.json", PYTHON, "written as Python: only a script can make JSON of it"),
        (
            "properties.csv",
            ["timestamp,itemid,property,value", *PROPERTIES],
            "only a script can make them one row an item",
        ),
        ("steam.csv", HEADERLESS, "--start"),
    ],
)
def test_what_only_the_user_can_do_is_one_sentence(tmp_path: Path, name: str, rows: Sequence[str], said: str) -> None:
    with pytest.raises(InvalidValueError, match=said) as error:
        propose([written(tmp_path, name, rows)], Said())
    assert "\n" not in str(error.value)


def test_a_start_is_enough_for_columns_without_names_in_their_usual_order(tmp_path: Path) -> None:
    proposal, found = tried(tmp_path, [written(tmp_path, "steam.csv", HEADERLESS)], Said(start="2015-01-01T00:00:00Z"))
    columns = proposal.mappings[0].columns
    assert (columns["user"].value, columns["item"].value, columns["action"].value) == ("1", "2", "3")
    assert found.positives > 20


def test_clicks_without_times_are_asked_about(tmp_path: Path) -> None:
    rows = [f"{n},{T + 60 * n},u{n % 7},i{n % 5}|i{5 + n % 4}" for n in range(60)]
    files = [written(tmp_path, "lists.csv", ["queryId,at,user,items", *rows])]
    files.append(written(tmp_path, "clicks.csv", ["queryId,item", *(f"{n},i{n % 5}" for n in range(0, 60, 2))]))
    with pytest.raises(InvalidValueError, match="write the time of their list into each row, by 'queryId'"):
        propose(files, Said())


def test_a_start_is_that_of_properties_too(tmp_path: Path) -> None:
    ratings = [f"{n % 11},{n % 5},{n % 4 + 1}" for n in range(60)]
    files = [written(tmp_path, "ratings.csv", ["user,isbn,rating", *ratings])]
    files.append(written(tmp_path, "books.csv", ["isbn,author", *(f"{n},a{n % 2}" for n in range(5))]))
    proposal, _ = tried(tmp_path, files, Said(start="2004-08-01"))
    assert [one.kind for one in proposal.mappings] == ["shown", "item"]


def test_spaces_behind_the_delimiter_are_no_part_of_ids(tmp_path: Path) -> None:
    rows = [f"{T + 60 * n}, u{n % 7}, i{n % 5}, {n % 2}" for n in range(60)]
    path = written(tmp_path, "a.csv", ["at, user, item, clicked", *rows])
    proposal, found = tried(tmp_path, [path])
    assert proposal.mappings[0].settings["delimiter"].value == ", "
    assert (proposal.mappings[0].columns["user"].value, found.positives) == ("user", 30)


def test_the_negation_of_the_label_is_no_feature(tmp_path: Path) -> None:
    rows = [f"{T + 60 * n},u{n % 7},i{n % 5},{n % 3},{1 - (n % 2)},{n % 2}" for n in range(60)]
    path = written(tmp_path, "a.csv", ["time_stamp,user,adgroup_id,pid,nonclk,clk", *rows])
    proposal, _ = tried(tmp_path, [path])
    assert [one.name for one in proposal.fields] == ["pid"]


@pytest.mark.parametrize("name", ["orders", "a"])
def test_orders_without_an_action_are_told_by_their_name_or_by_the_user(tmp_path: Path, name: str) -> None:
    rng = random.Random(11)
    rows = [{"created_at": at(300 * n), "customer": {"id": 70 + rng.randrange(30)},
             "things": [{"product_id": 9 + sku} for sku in rng.sample(range(25), 2)]} for n in range(ROWS)]  # fmt: skip
    path = written(tmp_path, f"{name}.jsonl", rows)
    if name == "a":
        with pytest.raises(InvalidValueError, match=r"say --item things\.product_id"):
            propose([path], Said())
    said = Said({"item": "things.product_id"}) if name == "a" else Said()
    proposal, found = tried(tmp_path, [path], said)
    assert (proposal.mappings[0].kind, found.counts.read >= 2 * ROWS) == ("feedback", True)
    assert found.positives > 0.9 * ROWS


def test_a_list_written_as_text_has_an_event_for_each_item_if_the_user_says_so(tmp_path: Path) -> None:
    rng = random.Random(12)
    rows = [f'{T + 60 * n},u{rng.randrange(30)},"{rng.sample(range(40), 2)}"' for n in range(ROWS)]
    path = written(tmp_path, "a.csv", ["time,user,products", *rows])
    _, found = tried(tmp_path, [path], Said({"item": "products"}))
    assert found.counts.read >= 2 * ROWS
    assert found.positives > 0.9 * ROWS


ADJACENT = [" ".join(str(n + k) for k in range(2 + n % 4)) for n in range(30)]
PLAYLISTS = [json.dumps({"info": {"v": "1"}, "playlists": [{"pid": p, "tracks": [{"uri": "a"}]} for p in range(9)]})]


@pytest.mark.parametrize(
    ("rows", "said"),
    [(ADJACENT, "only a script can write one item a line"), (PLAYLISTS, r"jq -c '\.playlists\[\]'")],
)
def test_records_in_other_shapes_are_told_how_to_be_written(tmp_path: Path, rows: Sequence[str], said: str) -> None:
    with pytest.raises(InvalidValueError, match=said):
        propose([written(tmp_path, "data.json", rows)], Said())


def test_tables_that_have_to_be_joined_are_told(tmp_path: Path) -> None:
    lines = [f"{n // 3},{n % 17},{n % 2}" for n in range(90)]
    files = [written(tmp_path, "lines.csv", ["order_id,product_id,reordered", *lines])]
    files.append(
        written(tmp_path, "orders.csv", ["order_id,user_id,hour", *(f"{n},{n % 7},{n % 24}" for n in range(30))])
    )
    with pytest.raises(
        InvalidValueError, match=r"orders\.csv has the user by 'order_id': only a script can join the two"
    ):
        propose(files, Said(start="2017-01-01"))


def test_clicks_whose_users_and_times_stand_elsewhere_are_told_how_to_be_joined(tmp_path: Path) -> None:
    lines = [f"{n // 4},{n * 7 % 50},{int(n % 4 == 0)}" for n in range(200)]
    clicks = written(tmp_path, "ad clicks.csv", ["display_id,ad_id,clicked", *lines])
    lines = [f"{n},c{n % 23},{60 + 900 * n},{n % 3}" for n in range(50)]
    events = written(tmp_path, "events.csv", ["display_id,uuid,timestamp,platform", *lines])
    with pytest.raises(InvalidValueError, match="another file has the times by 'display_id', give both"):
        propose([clicks], Said())
    with pytest.raises(InvalidValueError) as told:
        propose([clicks, events], Said())
    assert f"{events} has the user and the time by 'display_id'" in str(told.value)
    assert f"p.read_csv('{clicks}').merge(p.read_csv('{events}'), on='display_id')" in str(told.value)


def test_a_rating_goes_before_what_was_bought(tmp_path: Path) -> None:
    rows = [
        {"rating": 1.0 + n * 7 % 5, "asin": f"B{n % 41:09}", "user": f"u{n % 23}", "timestamp": 1000 * (T + 60 * n)}
        | {"verified_purchase": n % 3 > 0}
        for n in range(ROWS)
    ]
    proposal, found = tried(tmp_path, [written(tmp_path, "reviews.jsonl", rows)])
    assert proposal.mappings[0].columns["value"].value == "rating"
    assert 0 < found.positives < found.labels == ROWS


def lists_and_clicks(folder: Path, delays: Sequence[int]) -> list[Path]:
    """A list every ten minutes, and a click on each, so many seconds later."""
    lists = [f"r{n},{T + 600 * n},u{n % 23},{n % 50}|{50 + n % 50}" for n in range(len(delays))]
    clicks = sorted((T + 600 * n + after, f"r{n}", n % 50) for n, after in enumerate(delays))
    return [
        written(folder, "lists.csv", ["request_id,time,user,items", *lists]),
        written(folder, "clicks.csv", ["time,request_id,item", *(f"{at},{of},{item}" for at, of, item in clicks)]),
    ]


@pytest.mark.parametrize(
    ("late", "expected"), [(3 * 3600, "3h"), (26 * 3600 + 5, "2d"), (600, None)], ids=["hours", "days", "in time"]
)
def test_a_wait_follows_from_how_late_clicks_come(tmp_path: Path, late: int, expected: str | None) -> None:
    files = lists_and_clicks(tmp_path, [late if n % 5 == 0 else 60 for n in range(ROWS)])
    proposal, found = tried(tmp_path, files)
    assert (found.wait and found.wait.value) == expected
    if found.wait is not None:
        assert "20.0% of the clicks come later than the default, 30m" in found.wait.note
        proposal = proposal.waiting(found.wait)
        again = trial(proposal.config(tmp_path / "recsys.toml"), files)
        assert again.positives == ROWS > found.positives
        assert f'wait = "{expected}"' in proposal.text


def test_of_purchases_it_is_said_what_a_wait_means(tmp_path: Path) -> None:
    rows = [f"{T + 60 * n},u{n % 23},i{n % 31}" for n in range(ROWS)]
    bought, _ = tried(tmp_path, [written(tmp_path, "transactions.csv", ["date,customer,article", *rows])])
    read, _ = tried(tmp_path, [written(tmp_path, "reads.csv", ["date,reader,article", *rows])])
    assert ["30m ([training] wait)" in " ".join(one.open_questions) for one in (bought, read)] == [True, False]


@pytest.mark.parametrize("name", ["clicked", "reference"])
def test_the_item_that_was_chosen_stands_beside_its_list(tmp_path: Path, name: str) -> None:
    def row(n: int) -> str:
        items = [n % 40, (n + 7) % 40, (n + 19) % 40]
        return f"{n},{T + 60 * n},u{n % 23},{'|'.join(map(str, items))},{items[n % 3] if n % 4 else ''}"

    path = written(tmp_path, "lists.csv", [f"request_id,time,user,impressions,{name}", *map(row, range(ROWS))])
    proposal, found = tried(tmp_path, [path])
    assert proposal.mappings[0].columns["actions.click"].value == name
    assert (found.labels, found.positives) == (3 * ROWS, sum(n % 4 > 0 for n in range(ROWS)))


def test_times_in_a_form_that_is_not_known_are_asked_about_by_name(tmp_path: Path) -> None:
    rows = [f"day {n % 9} after midsummer,u{n % 23},i{n % 31},{n % 2}" for n in range(ROWS)]
    path = written(tmp_path, "a.csv", ["time,user,item,clicked", *rows])
    with pytest.raises(InvalidValueError, match="'day 0 after midsummer', are no times that are known"):
        propose([path], Said())
    assert propose([path], Said(start="2024-01-01")).mappings[0].kind == "shown"


@pytest.mark.parametrize("form", ["%d-%b-%Y %H:%M", "%b %d, %Y %H:%M:%S"])
def test_times_with_names_of_months_are_read(tmp_path: Path, form: str) -> None:
    when = [datetime.fromtimestamp(T + 60 * n, UTC).strftime(form) for n in range(ROWS)]
    rows = [f'"{at}",u{n % 23},i{n % 31},{n % 2}' for n, at in enumerate(when)]
    proposal, found = tried(tmp_path, [written(tmp_path, "a.csv", ["time,user,item,clicked", *rows])])
    assert proposal.mappings[0].settings["time_format"].value == form
    assert found.positives == ROWS / 2


def test_what_tells_the_item_of_its_row_is_a_feature_of_the_item(tmp_path: Path) -> None:
    """As a feature of the request, prices that change and addresses of pages would tell which item was chosen."""
    rng = random.Random(4)
    rows = ["time,user_id,product_id,price,page,country,channel"]
    for n in range(600):
        user, item = rng.randrange(30), rng.randrange(20)
        page = f"/p/{item}" if n % 4 else ""
        rows.append(f"{T + 20 * n},u{user},p{item},{5 + item + n // 300},{page},c{user % 9},{rng.choice('xyz')}")
    proposal, _ = tried(tmp_path, [written(tmp_path, "buys.csv", rows)])
    (mapping,) = proposal.mappings
    assert mapping.kind == "feedback"
    assert {one.name: one.field.partition(".")[0] for one in mapping.features} == {
        "price": "item_features", "page": "item_features", "country": "features", "channel": "features",
    }  # fmt: skip


def test_what_goes_with_clicks_alone_is_no_feature(tmp_path: Path) -> None:
    rng = random.Random(4)
    rows = ["time,user_id,hotel_id,booking,gross,hate,device,click"]
    for n in range(600):
        click = rng.random() < 0.2
        booked = click and rng.random() < 0.5
        of_user = f"u{rng.randrange(30)},h{rng.randrange(20)}"
        rows.append(f"{T + 20 * n},{of_user},{booked:d},{100 if booked else ''},{n % 50 == 0:d},d{n % 3},{click:d}")
    proposal, found = tried(tmp_path, [written(tmp_path, "shown.csv", rows)])
    (mapping,) = proposal.mappings
    assert [one.name for one in mapping.features] == ["device"]
    assert found.labels == 2 * 600  # of clicks, and of bookings as a further task
    assert [*mapping.tasks] == ["book"]


@pytest.mark.parametrize("beside", ["Active", "customer", "rating"])
def test_files_without_times_have_properties_of_known_items_whatever_else_they_say(tmp_path: Path, beside: str) -> None:
    events = written(
        tmp_path, "sales.csv", ["at,customer_id,article_id", *(f"{T + 9 * n},c{n % 7},a{n % 11}" for n in range(300))]
    )
    rows = [f"article_id,{beside},colour", *(f"a{n},{'1.0' if n % 2 else ''},k{n % 3}" for n in range(11))]
    proposal, found = tried(tmp_path, [events, written(tmp_path, "articles.csv", rows)])
    assert [one.kind for one in proposal.mappings] == ["feedback", "item"]
    assert "colour" in [one.name for one in proposal.fields]
    assert found.positives


def test_a_share_that_was_watched_is_a_rating(tmp_path: Path) -> None:
    rng = random.Random(5)
    rows = ["user_id,video_id,timestamp,watch_ratio"]
    rows += [f"{n % 9},{n % 13},{T + 9 * n},{rng.random() * 3}" for n in range(600)]
    proposal, found = tried(tmp_path, [written(tmp_path, "plays.csv", rows)])
    assert proposal.mappings[0].columns["value"].value == "watch_ratio"
    assert 0.2 < found.positives / found.labels < 0.3


@pytest.mark.parametrize(("name", "share"), [("not_skipped", 1 / 3), ("skipped", 2 / 3)])
def test_what_was_not_skipped_is_positive(tmp_path: Path, name: str, share: float) -> None:
    rows = [f"time,user_id,track_id,{name}"]
    rows += [f"{T + 9 * n},u{n % 7},t{n % 10},{str(n % 3 == 0).lower()}" for n in range(300)]
    proposal, found = tried(tmp_path, [written(tmp_path, "plays.csv", rows)])
    assert found.positives / found.labels == pytest.approx(share)
    assert proposal.fields == []


def test_items_with_a_label_beside_each_in_a_list_are_rows_that_were_shown(tmp_path: Path) -> None:
    rows = [
        {"event_time": at(30 * n), "user_id": f"u{n % 9}", "context": {"country": f"c{n % 2}"},
         "items": [{"sku": f"s{(n + k) % 12}", "price": 5.5 + k, "clicked": k == n % 4} for k in range(4)]}
        for n in range(100)
    ]  # fmt: skip
    proposal, found = tried(tmp_path, [written(tmp_path, "shown.jsonl", rows)])
    (mapping,) = proposal.mappings
    assert (mapping.kind, mapping.columns["item"].value) == ("shown", "items.sku")
    assert (found.positives, found.negatives) == (100, 300)


def test_places_on_earth_and_constants_are_no_items(tmp_path: Path) -> None:
    rows = [f"{n % 9}\t{at(30 * n)}\t{30 + n % 7 / 100}\t-97.79\t{22847 + n % 8}" for n in range(300)]
    proposal, _ = tried(tmp_path, [written(tmp_path, "checkins.txt", rows)])
    assert proposal.mappings[0].columns["item"].value == "5"
    events = [
        {"tstamp": at(9 * n), "app_id": "shop", "shelf": f"s{n % 4}", "user_id": f"u{n % 9}", "label": f"p{n % 20}"}
        for n in range(90)
    ]
    with pytest.raises(InvalidValueError, match="no column looks like the item"):
        propose([written(tmp_path, "events.jsonl", events)], Said())


def test_actions_as_numbers_are_explained_by_the_user_and_those_without_items_do_not_count(tmp_path: Path) -> None:
    rows = ["user_id,item_id,interaction_type,created_at"]
    rows += [f"{n % 9},{n % 20 if n % 4 else ''},{n % 4},{T + n}" for n in range(400)]
    proposal, _ = tried(tmp_path, [written(tmp_path, "interactions.csv", rows)])
    assert set(proposal.training["positive"].value) == {"1", "2", "3"}
    assert any("only you know: leave in [training] positive" in one for one in proposal.open_questions)


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("a.log", ['10.0.0.1 - - [26/Jan/2020:00:53:38 +0000] "GET /3 HTTP/1.1" 200 9'] * 3, "log of a web server"),
        ("b.csv", ["1,0,9,205\x0211\x031.0\x01206\x0212\x031.0"] * 3, "text with control characters, such as \\x02"),
        ("c.json", ["{", '  "info": {},', '  "playlists": [', "    {", '"a": 1}]}'], "jq -c '.playlists[]'"),
    ],
)  # fmt: skip
def test_what_a_script_has_to_do_is_said(tmp_path: Path, name: str, rows: Sequence[str], said: str) -> None:
    with pytest.raises(InvalidValueError, match=re.escape(said)):
        propose([written(tmp_path, name, rows)], Said())


def test_the_commas_of_texts_are_no_lists(tmp_path: Path) -> None:
    ratings = ["userId,movieId,rating,timestamp", *(f"{n % 9},{n % 20},{1 + n % 5},{T + 9 * n}" for n in range(300))]
    movies = [
        "movieId,title,genres",
        *(f'{n},"Film, The ({1990 + n % 4})",{"Comedy|Drama" if n % 2 else "Action"}' for n in range(20)),
    ]
    files = [written(tmp_path, "ratings.csv", ratings), written(tmp_path, "movies.csv", movies)]
    proposal, _ = tried(tmp_path, files)
    assert {one.name: one.kind for one in proposal.fields} == {"title": "categorical", "genres": "multi"}


@pytest.mark.parametrize("price", ["{0},{1}9", "1.{0:03},{1}9 €"])
def test_prices_with_decimal_commas_are_numbers(tmp_path: Path, price: str) -> None:
    rows = ["\ufeffKunde;Artikel;Datum;Uhrzeit;Preis;Geklickt"]
    for n in range(300):
        written_price = price.format(9 + n % 12, n % 10)
        rows.append(
            f"K{n % 9};A{n % 12};{1 + n // 30:02}.05.2024;{n % 24}:15;{written_price};{'nein' if n % 3 else 'ja'}"
        )
    proposal, found = tried(tmp_path, [written(tmp_path, "Export.csv", rows)])
    (mapping,) = proposal.mappings
    assert mapping.settings["decimal"].value == ","
    assert {one.name: one.kind for one in proposal.fields} == {"preis": "numeric"}
    assert (found.counts.dead, found.positives) == (0, 100)


def test_a_row_that_is_longer_than_what_is_looked_at_is_said(tmp_path: Path) -> None:
    long = "x" * (5 << 20)
    for name, rows in (("a.csv", ["user,item", f"u,{long}"]), ("b.json", [f'{{"a": "{long}"}}'])):
        with pytest.raises(InvalidValueError, match="a line is longer than 4 MiB"):
            propose([written(tmp_path, name, rows)], Said())


def test_grades_above_0_are_positive(tmp_path: Path) -> None:
    rows = ["query_id,user_id,doc_id,timestamp,label"]
    rows += [f"q{n // 5},u{n // 5 % 20},d{n % 13},{T + n // 5},{(n % 7) * (n % 2) % 5}" for n in range(400)]
    proposal, found = tried(tmp_path, [written(tmp_path, "search.csv", rows)])
    assert proposal.mappings[0].columns["actions.click"].value == "label"
    assert found.positives == sum((n % 7) * (n % 2) % 5 > 0 for n in range(400))
