"""Headers in other languages, files of other encodings, and MIND's two files without headers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from recsys.errors import InvalidValueError
from recsys.proposal.ingest_trial import trial
from recsys.proposal.proposal import propose
from recsys.proposal.roles.roles import Said

ROWS = 200
Names = tuple[str, str, str, str, str]
ENGLISH: Names = ("time", "user_id", "item_id", "device", "clicked")
GERMAN: Names = ("Zeitstempel", "Kundennummer", "Artikel-Nr", "Gerät", "geklickt")


def text(names: Names, separator: str = ",", yes: str = "1", no: str = "0") -> tuple[str, int]:
    """A table of shown items, and how many have the label for yes."""
    rng = random.Random(7)
    lines, positives = [separator.join(names)], 0
    for i in range(ROWS):
        done = rng.random() < 0.25
        positives += done
        cells = (
            1_700_000_000 + 20 * i,
            f"u{rng.randrange(20)}",
            f"i{rng.randrange(30)}",
            "ab"[i % 2],
            yes if done else no,
        )
        lines.append(separator.join(map(str, cells)))
    return "\n".join(lines) + "\n", positives


FILES = {
    "German": (text(GERMAN, ";", "ja", "nein"), "cp1252"),
    "Chinese": (text(("时间", "用户ID", "商品编号", "设备", "是否点击"), yes="是", no="否"), "utf-8"),
    "Chinese in GBK": (text(("时间", "用户", "商品", "设备", "点击")), "gbk"),
    "French": (text(("horodatage", "utilisateur", "article", "appareil", "clic"), ";"), "utf-8"),
    "Russian in cp1251": (text(("Время", "ID пользователя", "Товар", "Устройство", "Клик"), ";"), "cp1251"),
    "Ukrainian": (text(("Час", "Користувач", "Товар", "Пристрій", "Клік"), yes="так", no="ні"), "utf-8"),
    "Polish in cp1250": (
        text(("Czas", "Użytkownik", "Produkt", "Urządzenie", "Kliknięcie"), yes="tak", no="nie"),
        "cp1250",
    ),
    "Turkish in cp1254": (text(("Zaman", "Kullanıcı", "Ürün", "Cihaz", "Tıklama"), yes="evet", no="hayır"), "cp1254"),
    "Dutch": (text(("Tijdstip", "Gebruiker", "Artikel", "Apparaat", "Geklikt"), yes="ja", no="nee"), "utf-8"),
    "Portuguese": (text(("Data", "Usuário", "Produto", "Dispositivo", "Clicado"), yes="sim", no="não"), "utf-8"),
    "Swedish": (text(("Tidpunkt", "Användare", "Artikel", "Enhet", "Klickad"), yes="ja", no="nej"), "latin-1"),
    "Arabic in cp1256": (text(("الوقت", "المستخدم", "المنتج", "الجهاز", "نقرة")), "cp1256"),
    "Japanese in Shift JIS": (text(("日時", "ユーザーID", "商品ID", "端末", "クリック")), "cp932"),
    "Korean in cp949": (text(("시간", "사용자ID", "상품ID", "기기", "클릭")), "cp949"),
    "French without accents": (text(("date_heure", "abonne", "film", "appareil", "a_clique"), ";"), "utf-8"),
    "French words of events": (
        text(("heure", "internaute", "livre", "canal", "evenement"), yes="achat", no="vue"),
        "utf-8",
    ),
    "Spanish without accents": (
        text(("fecha_hora", "comprador", "libro", "canal", "accion"), ";", "comprado", "visto"),
        "utf-8",
    ),
    "Portuguese verb": (text(("data_hora", "visitante", "filme", "loja", "clicou"), yes="sim", no="não"), "utf-8"),
    "Finnish": (text(("aika", "käyttäjä", "tuote", "laite", "klikattu")), "utf-8"),
    "UTF-32": (text(ENGLISH), "utf-32"),
    "UTF-32 without a mark": (text(ENGLISH), "utf-32-be"),
    "UTF-16 without a mark": (text(ENGLISH), "utf-16-le"),
}


@pytest.mark.parametrize("name", FILES)
def test_labels_and_roles_are_found_in_every_language_and_encoding(tmp_path: Path, name: str) -> None:
    (content, positives), encoding = FILES[name]
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode(encoding))
    proposal = propose([path], Said())
    assert proposal.mappings[0].kind == "shown"
    assert "user" in proposal.mappings[0].columns
    tried = trial(proposal.config(tmp_path / "recsys.toml"), [path])
    assert (tried.positives, tried.labels, tried.counts.dead) == (positives, ROWS, 0)


def test_json_of_another_encoding_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"user": 1}\n{"user": 2}\n'.encode("utf-32"))
    with pytest.raises(InvalidValueError, match="is JSON in UTF-32: write it as UTF-8"):
        propose([tmp_path / "a.jsonl"], Said())


def test_a_label_in_an_unknown_language_is_asked_about(tmp_path: Path) -> None:
    content, _ = text(("time", "user_id", "item_id", "device", "kattintott"))
    (tmp_path / "a.csv").write_text(content)
    questions = propose([tmp_path / "a.csv"], Said()).open_questions
    assert any("--label kattintott --positive" in question for question in questions)


@pytest.mark.parametrize("order", [("behaviors.tsv", "news.tsv"), ("news.tsv", "behaviors.tsv")])
def test_minds_news_are_properties_of_the_items_of_its_behaviors(tmp_path: Path, order: tuple[str, str]) -> None:
    rng = random.Random(8)
    news = (f"N{i}\t{['news', 'sports'][i % 2]}\tsub{i % 5}\tTitle {i}\tAbstract {i}\thttps://a/{i}" for i in range(30))
    (tmp_path / "news.tsv").write_text("\n".join(news) + "\n")
    lists = (" ".join(f"N{n}-{int(n % 4 == 0)}" for n in rng.sample(range(30), 4)) for _ in range(ROWS))
    rows = (
        f"{i + 1}\tU{i % 17}\t11/11/2019 9:{i // 60:02d}:{i % 60:02d} AM\tN1 N2\t{one}" for i, one in enumerate(lists)
    )
    (tmp_path / "behaviors.tsv").write_text("\n".join(rows) + "\n")
    files = [tmp_path / name for name in order]
    proposal = propose(files, Said())
    assert {one.kind for one in proposal.mappings} == {"impression", "item"}
    assert {"item.column_2", "item.column_3"} <= {field.source for field in proposal.fields}
    tried = trial(proposal.config(tmp_path / "recsys.toml"), files)
    assert (tried.labels, tried.counts.dead) == (4 * ROWS, 0)


def analytics(folder: Path, names: list[str]) -> Path:
    """Events of GA4: the item in a list, parameters as a list of structs."""
    rng = random.Random(9)
    lines = [json.dumps({
        "event_timestamp": (1_700_000_000 + 10 * i) * 1_000_000, "event_name": rng.choice(names),
        "event_params": [{"key": key, "value": {"string_value": f"/{i}"}} for key in ("page", "title")],
        "user_pseudo_id": f"{i % 20}.1", "device": {"category": rng.choice(["mobile", "desktop"])},
        "items": [{"item_id": f"S{rng.randrange(30)}", "price": 9.5}],
    }) for i in range(ROWS)]  # fmt: skip
    (folder / "ga4.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "ga4.jsonl"


def test_events_with_their_item_in_a_list_are_feedback(tmp_path: Path) -> None:
    path = analytics(tmp_path, ["view_item", "add_to_cart", "purchase"])
    proposal = propose([path], Said())
    (mapping,) = proposal.mappings
    assert (mapping.kind, mapping.columns["item"].value) == ("feedback", "items.item_id")
    tried = trial(proposal.config(tmp_path / "recsys.toml"), [path])
    assert tried.counts.accepted == 2 * tried.positives > ROWS / 2
    assert tried.counts.dead + tried.counts.accepted == ROWS


def test_orders_of_several_items_do_not_hide_the_other_events(tmp_path: Path) -> None:
    lines = []
    for i in range(ROWS):
        what = {"product_id": f"p{i * 7 % 30}"}
        event = ["Product Viewed", "Product Clicked", "Order Completed"][i % 3]
        properties = {"products": [what, {"product_id": "p99"}]} if i % 3 == 2 else what
        at = f"2023-11-14T{i // 60:02d}:{i % 60:02d}:00Z"
        lines.append(
            json.dumps({"event": event, "userId": f"u{i * 3 % 17}", "timestamp": at, "properties": properties})
        )
    (tmp_path / "segment.jsonl").write_text("\n".join(lines) + "\n")
    proposal = propose([tmp_path / "segment.jsonl"], Said())
    (mapping,) = proposal.mappings
    assert mapping.kind == "feedback"
    assert mapping.settings["where"].value == {"event": ["Product Viewed", "Product Clicked"]}


def test_whoever_is_not_signed_in_is_the_user_that_another_id_names_however_few_there_are(tmp_path: Path) -> None:
    rows = [
        f"{1_700_000_000 + 60 * n},{'' if n % 3 else f'u{n % 7}'},d{n % 5},p{n * 7 % 31},{int(n % 4 == 0)}"
        for n in range(ROWS)
    ]
    (tmp_path / "a.csv").write_text("\n".join(["time,userId,anonymousId,item,clicked", *rows]) + "\n")
    (mapping,) = propose([tmp_path / "a.csv"], Said()).mappings
    assert mapping.columns["user"].value == ["userId", "anonymousId"]


@pytest.mark.parametrize("name", ["note", "nota", "valoracion", "Bewertung"])
def test_a_rating_is_told_by_its_word_in_other_languages(tmp_path: Path, name: str) -> None:
    rows = [f"{1_700_000_000 + 60 * n},k{n % 23},a{n % 31},{1 + n * 7 % 5}" for n in range(ROWS)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join([f"zeit,client,produit,{name}", *rows]) + "\n", encoding="utf-8")
    proposal = propose([path], Said())
    assert proposal.mappings[0].columns["value"].value == name
    assert proposal.training["min_value"].value == 4


def test_values_tell_the_roles_where_no_word_of_the_header_is_known(tmp_path: Path) -> None:
    rows = [f"{1_700_000_000 + 60 * n},l{n * 7 % 53},p{n % 31},{'ab'[n % 2]},{int(n % 4 == 0)}" for n in range(ROWS)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["laika,lietotajs,prece,ierice,izvele", *rows]) + "\n", encoding="utf-8")
    (mapping,) = propose([path], Said()).mappings
    assert mapping.kind == "shown"
    assert {role: noted.value for role, noted in mapping.columns.items() if "." not in role} == {
        "time": "laika", "user": "lietotajs", "item": "prece"
    }  # fmt: skip
    assert mapping.columns["actions.click"].value == "izvele"


def test_the_first_line_with_another_number_of_cells_is_named(tmp_path: Path) -> None:
    rows = [f"u{n % 9},i{n % 7},{1_700_000_000 + n},{n % 2}{',x,y' if n % 3 == 2 else ''}" for n in range(ROWS)]
    (tmp_path / "a.csv").write_text("\n".join(["user,item,time,label", "", *rows]) + "\n")
    with pytest.raises(InvalidValueError, match="line 5 is the first with another number of cells, 6 in place of 4"):
        propose([tmp_path / "a.csv"], Said())


@pytest.mark.parametrize(("suffix", "what"), [(".gz", "gzip"), (".bz2", "bzip2"), (".zst", "zstd"), (".xz", "xz")])
def test_a_file_that_is_compressed_by_its_name_alone_is_to_be_renamed(tmp_path: Path, suffix: str, what: str) -> None:
    path = tmp_path / f"a.csv{suffix}"
    path.write_text(text(ENGLISH)[0])
    with pytest.raises(InvalidValueError, match=rf"is not {what} compressed, as its name says: rename it to a\.csv"):
        propose([path], Said())
