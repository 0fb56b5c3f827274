"""What columns are called in other languages than English."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

_WORDS: Final = {
    "user": "nutzer benutzer kunde kunden besucher utilisateur usuario usuário cliente utente gebruiker klant "
    "användare kund bruker bruger użytkownik klient kullanıcı müşteri пользователь пользователя клиент клиента "
    "покупатель покупателя користувач користувача użytkownika المستخدم مستخدم 用户 会员 顾客 买家 访客 ユーザー "
    "顧客 사용자 회원 "
    "käufer acheteur comprador compradora acquirente internaute abonné adhérent membre mitglied visiteur visitante "
    "suscriptor assinante käyttäjä asiakas uživatel zákazník felhasználó utilizator pengguna χρήστης",
    "item": "artikel produkt gegenstand produit producto produto articulo artículo artigo articolo prodotto vare "
    "varan przedmiot towar ürün товар товара товару артикул المنتج منتج 商品 物品 产品 视频 文章 新闻 電影 电影 "
    "アイテム 상품 "
    "film livre libro livro buch película filme recette rezept receta receita anuncio anúncio "
    "tuote zboží výrobek termék produs προϊόν",
    "time": "zeit zeitpunkt zeitstempel datum uhrzeit horodatage heure temps date fecha hora tiempo data tijd "
    "tijdstip tidpunkt tid tidspunkt czas zaman tarih время дата час الوقت التاريخ 时间 時間 日期 时间戳 日時 시간 "
    "날짜 aika čas idő waktu tanggal momento"
    " instante päivämäärä",
    "request": "anfrage sitzung anzeige requete requête solicitud richiesta запрос 请求 曝光",
    "click": "klick geklickt angeklickt clic cliqué clicado clique cliccato geklikt klickad klik kliknięcie "
    "kliknięto tıklama tıklandı клик клік نقرة 点击 點擊 是否点击 クリック 클릭 clicou "
    "klikattu klikkaus kliknuto kattintás κλικ",
    "purchase": "kauf gekauft bestellt achat acheté compra comprado acquistato aankoop gekocht köpt zakup satın "
    "покупка куплено купівля شراء 购买 購買 下单 成交 購入 구매 "
    "achète acheter comprou compró ostettu osto koupeno nákup vásárlás cumpărat beli αγορά",
    "label": "etikett zielwert étiquette etiqueta etichetta метка 标签 標籤 ラベル",
    "rating": "bewertung sterne évaluation puntuación avaliação valoración valutazione voto beoordeling betyg "
    "ocena puan оценка рейтинг оцінка تقييم 评分 評分 評価 평점 note nota "
    "calificación puntaje punteggio sterren arvosana hodnocení értékelés",
    "action": "aktion ereignis verhalten événement acción evento ação azione действие событие подія 行为 行為 操作 "
    "行動 행동 évènement événements "
    "tapahtuma událost",
    "view": "angesehen gesehen ansicht aufruf vue vu vus consulté visto vista visualizado visualizó visualizou "
    "visualização visualizzato bekeken visad просмотр перегляд 浏览 瀏覽 閲覧 조회",
    "cart": "warenkorb panier carrito carrinho cesta carrello winkelwagen varukorg koszyk sepet корзина кошик 加购 "
    "購物車 カート 장바구니",
    "number": "nummer nr kennung schlüssel numéro número numero numer identifiant identificador identificativo "
    "identyfikator идентификатор ідентифікатор номер 编号 編號 号 番号 번호",
}


def _plain(word: str) -> str:
    """Without accents, as many exports write it."""
    return "".join(letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter))


_ENGLISH: Final = {word: english for english, words in _WORDS.items() for word in words.split()}
_PLAIN: Final = {_plain(word): english for word, english in _ENGLISH.items()}
_LONGEST_FIRST: Final = sorted(_ENGLISH, key=len, reverse=True)
_TOGETHER: Final = re.compile(r"[぀-ヿ一-鿿가-힯]")
"""Letters of languages that write words without spaces."""
_JOINED: Final = ("", "n", "s", "en")
"""What stands between the parts of a German word."""


def english(word: str) -> Iterator[str]:
    """The words that a word in lower case has in English; itself where it is not known.

    >>> list(english("accion")), list(english("évènement"))
    (['action'], ['action'])
    >>> list(english("kundennummer")), list(english("是否点击")), list(english("user"))
    (['user', 'number'], ['click'], ['user'])
    """
    if found := _ENGLISH.get(word) or _PLAIN.get(_plain(word)):
        yield found
    elif _TOGETHER.search(word):
        part = next((part for part in _LONGEST_FIRST if part in word), "")
        yield _ENGLISH.get(part, word)
        rest = word.replace(part, "", 1).strip("是否的")
        yield from english(rest) if part and rest else ()
    else:
        end = next((end for end in _NAMING if word.endswith(end)), "")
        begin = word.removesuffix(end)
        part = next((begin.removesuffix(join) for join in _JOINED if begin.removesuffix(join) in _ENGLISH), "")
        yield from (_ENGLISH[part], *english(end)) if end and part else (word,)


_NAMING: Final = ("id", "ids", "nummer", "nr", "kennung", "schlüssel")
