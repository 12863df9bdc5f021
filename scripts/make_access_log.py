"""Makes the demo's input, always the same: a small shop's access log, a few days long."""

from __future__ import annotations

import random
import sys
from datetime import datetime, timedelta, timezone

LINES = 5000
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (compatible; ExampleBot/2.1; +http://www.example.com/bot.html)",
    "curl/8.8.0",
)
PATHS = (
    "/",
    "/shop",
    "/shop/tea",
    "/shop/coffee",
    "/cart",
    "/checkout",
    "/static/site.css",
    "/static/logo.svg",
    "/api/stock",
)
NETWORKS = ("192.0.2", "198.51.100", "203.0.113")  # reserved for documentation


def lines() -> list[str]:
    """Return the log."""
    chance = random.Random(20260131)
    at = datetime(2026, 1, 31, 6, 0, tzinfo=timezone.utc)
    clients = [f"{chance.choice(NETWORKS)}.{chance.randrange(1, 255)}" for _ in range(240)] + ["2001:db8::17"]
    agent_of = {client: chance.choice(AGENTS) for client in clients}
    made = []
    for _ in range(LINES):
        at += timedelta(seconds=chance.expovariate(1 / 40))
        client, path = chance.choice(clients), chance.choice(PATHS)
        method = "POST" if path in ("/cart", "/checkout") and chance.random() < 0.6 else "GET"
        if chance.random() < 0.03:
            path = f"/shop/{chance.choice(('mate', 'cocoa', 'wp-login.php'))}"
        known = path in PATHS
        status = chance.choices((200, 304, 302, 500), (88, 8, 3, 1))[0] if known else 404
        size = 0 if status == 304 else chance.randrange(180, 48_000)
        referer = "-" if chance.random() < 0.5 else f"https://shop.example.com{chance.choice(PATHS)}"
        made.append(
            f'{client} - - [{at:%d/%b/%Y:%H:%M:%S %z}] "{method} {path} HTTP/1.1" {status} {size} '
            f'"{referer}" "{agent_of[client]}"'
        )
    return made


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in lines()))
