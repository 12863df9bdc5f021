"""Claims: who holds which name, until when, under which fencing token.

A claim is granted when nobody holds it or its time is over, by the clock of `boot_clock`.  Tokens
come from one counter that only grows, whatever is deleted.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from eventy_sync.errors import ClaimNotFoundError, InvalidArgumentError
from eventy_sync.models import Claim, Page
from eventy_sync.paging import check_limit, check_time, decode_page_id
from eventy_sync.storage.state.boot_clock import Now, live_parameters, live_term, read_clocks
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.filters import (
    Where,
    check_text,
    from_microseconds,
    page_of,
    to_microseconds,
    uuid_bytes,
)

MAX_CLAIM_ID_CHARACTERS = 500
MAX_CLAIM_DATA_BYTES = 65_536
MAX_TTL_SECONDS = 10 * 365 * 86_400.0

_COLUMNS = "id, worker_id, token, data, created_at, expires_at"
_KIND = "claims"
_LIVE = live_term("claims")

_GRANT = f"""
    INSERT INTO claims
        (id, worker_id, token, data, created_at, expires_at, boot_id, created_boot, expires_boot, asked_in)
    SELECT ?, ?, value + 1, ?, ?, ?, ?, ?, ?, ? FROM counters WHERE name = 'token'
    ON CONFLICT (id) DO UPDATE SET worker_id = excluded.worker_id, token = excluded.token, data = excluded.data,
        created_at = excluded.created_at, expires_at = excluded.expires_at, boot_id = excluded.boot_id,
        created_boot = excluded.created_boot, expires_boot = excluded.expires_boot, asked_in = excluded.asked_in
    WHERE NOT {_LIVE} OR (? AND claims.asked_in <> '')
"""
_CONFIRM = "UPDATE claims SET asked_in = '' WHERE id = ? AND worker_id = ? AND token = ?"


class Held(NamedTuple):
    """A claim and the seconds it has left by a clock that cannot be set.

    `asked_in` is the epoch in which Redis was asked for it, or is being asked yet, as long as nobody has written down
    that it was granted; "" where this root has it for certain.
    """

    claim: Claim
    remaining_seconds: float
    asked_in: str = ""


def check_claim_id(claim_id: str) -> str:
    """Return the claim id if it can be one.

    Raises:
        InvalidArgumentError: it is empty, too long, not a text, or holds control characters.
    """
    return check_text("claim id", claim_id, MAX_CLAIM_ID_CHARACTERS)


def check_ttl(ttl_seconds: float) -> float:
    """Return the time if a claim can last so long.

    Raises:
        InvalidArgumentError: it is not above 0, or beyond `MAX_TTL_SECONDS`.
    """
    is_number = isinstance(ttl_seconds, (int, float)) and not isinstance(ttl_seconds, bool)
    if not is_number or not math.isfinite(ttl_seconds) or not 0 < ttl_seconds <= MAX_TTL_SECONDS:
        raise InvalidArgumentError(
            f"a claim lasts a number of seconds above 0, ten years at most, not {ttl_seconds!r:.50}"
        )
    return ttl_seconds


class ClaimTable:
    """Thread safe, exclusive among processes.  All methods raise StorageError when SQLite refuses."""

    def __init__(self, connection: Connection, clocks: Callable[[], Now] = read_clocks) -> None:
        self._connection, self._clocks = connection, clocks

    def create(self, claim_id: str, worker_id: UUID, data: Any, ttl_seconds: float) -> Claim | None:
        """Grant the claim under the next token, or return None because somebody holds it."""
        check_claim_id(claim_id)
        check_ttl(ttl_seconds)
        return self.grant(claim_id, worker_id, encode_data(data), ttl_seconds)

    def grant(
        self,
        claim_id: str,
        worker_id: UUID,
        data: str,
        ttl_seconds: float,
        *,
        asked_in: str = "",
        takes_over: bool = False,
        confirmed: Sequence[Claim] = (),
    ) -> Claim | None:
        """Do what `create` does, everything being checked and the data JSON.

        With `asked_in` the claim is not certain yet, see `Held`; `takes_over` grants one that somebody else has, but
        not for certain.  `confirmed` are certain from now on.
        """
        with self._connection.transaction() as database:
            self._confirm(database, confirmed)
            now = self._clocks()
            expires_at = now.wall + int(ttl_seconds * 1_000_000)
            boot = (now.boot_id, now.boot_seconds, now.boot_seconds + ttl_seconds)
            row = (claim_id, worker_id.bytes, data, now.wall, expires_at, *boot, asked_in)
            if not database.execute(_GRANT, (*row, *live_parameters(now), takes_over)).rowcount:
                return None
            database.execute("UPDATE counters SET value = value + 1 WHERE name = 'token'")
            token = database.execute("SELECT value FROM counters WHERE name = 'token'").fetchone()[0]
        created_at = from_microseconds(now.wall)
        return Claim(claim_id, worker_id, created_at, msgspec.json.decode(data), token, from_microseconds(expires_at))

    def look(self, claim_id: str) -> tuple[bool, int]:
        """Return whether somebody holds it, and the last token; raises InvalidArgumentError for what is no claim id."""
        statement = f"SELECT EXISTS (SELECT 1 FROM claims WHERE id = ? AND {_LIVE}), value FROM counters "
        parameters = (check_claim_id(claim_id), *live_parameters(self._clocks()))
        ((is_held, last_token),) = self._connection.rows(f"{statement} WHERE name = 'token'", parameters)
        return bool(is_held), last_token

    def renumber(self, claim: Claim, token: int) -> Claim | None:
        """Let a claim that was just granted have the token that Redis has given out, and be certain; return it so.

        Returns None when the claim is not there any more, or later tokens were given out without asking Redis.
        """
        with self._connection.transaction() as database:
            statement = (
                "UPDATE claims SET token = ?, asked_in = '' WHERE id = ? AND worker_id = ? AND token = ? "
                "AND ? > (SELECT value FROM counters WHERE name = 'token_alone')"
            )
            if not database.execute(statement, (token, claim.id, claim.worker_id.bytes, claim.token, token)).rowcount:
                return None
            database.execute("UPDATE counters SET value = MAX(value, ?) WHERE name = 'token'", (token,))
        return replace(claim, token=token)

    def confirm(self, claims: Sequence[Claim], *, is_alone: bool = False) -> None:
        """Let these be certain: Redis has granted them, or `is_alone`: they are granted without it."""
        with self._connection.transaction() as database:
            self._confirm(database, claims)
            if is_alone and claims:
                last_token = max(claim.token for claim in claims)
                database.execute("UPDATE counters SET value = MAX(value, ?) WHERE name = 'token_alone'", (last_token,))

    def last_token_alone(self) -> int:
        """Return the last fencing token that was given out here without asking Redis."""
        return int(self._connection.rows("SELECT value FROM counters WHERE name = 'token_alone'")[0][0])

    @staticmethod
    def _confirm(database: sqlite3.Connection, claims: Sequence[Claim]) -> None:
        for claim in claims:
            database.execute(_CONFIRM, (claim.id, claim.worker_id.bytes, claim.token))

    def renew(self, claim_id: str, worker_id: UUID, token: int, ttl_seconds: float) -> Claim | None:
        """Let the claim last so long from now, or return None because it is not held under this token."""
        check_claim_id(claim_id)
        check_ttl(ttl_seconds)
        with self._connection.transaction() as database:
            now = self._clocks()
            database.execute(
                "UPDATE claims SET expires_at = ?, boot_id = ?, created_boot = ?, expires_boot = ?, asked_in = '' "
                f"WHERE id = ? AND worker_id = ? AND token = ? AND {_LIVE}",
                (
                    now.wall + int(ttl_seconds * 1_000_000),
                    now.boot_id,
                    now.boot_seconds,
                    now.boot_seconds + ttl_seconds,
                    claim_id,
                    worker_id.bytes,
                    token,
                    *live_parameters(now),
                ),
            )
            found = database.execute(
                f"SELECT {_COLUMNS} FROM claims WHERE id = ? AND worker_id = ? AND token = ? AND {_LIVE}",
                (claim_id, worker_id.bytes, token, *live_parameters(now)),
            ).fetchone()
        return None if found is None else _from_row(found)

    def release(self, claim_id: str, worker_id: UUID, token: int) -> bool:
        """Free the claim if it is held under this token."""
        check_claim_id(claim_id)
        with self._connection.transaction() as database:
            owner = (claim_id, worker_id.bytes, token, *live_parameters(self._clocks()))
            statement = f"DELETE FROM claims WHERE id = ? AND worker_id = ? AND token = ? AND {_LIVE}"
            return database.execute(statement, owner).rowcount > 0

    def get(self, claim_id: str) -> Claim:
        """Return a claim that is held, or raise ClaimNotFoundError."""
        (claim,) = self.batch_get([claim_id])
        if claim is None:
            raise ClaimNotFoundError(f"nobody holds the claim {claim_id!r:.200}")
        return claim

    def batch_get(self, claim_ids: Sequence[str]) -> list[Claim | None]:
        """Return claims in the order of their ids, None for what nobody holds."""
        statement = f"SELECT {_COLUMNS} FROM claims WHERE id = ? AND {_LIVE}"
        live = live_parameters(self._clocks())
        found = [self._connection.rows(statement, (check_claim_id(each), *live)) for each in claim_ids]
        return [_from_row(rows[0]) if rows else None for rows in found]

    def ending_in(self, ending: str) -> list[Claim]:
        """Return the claims that are held and whose ids end so, by id.  Looks at every claim."""
        statement = f"SELECT {_COLUMNS} FROM claims WHERE substr(id, -?) = ? AND {_LIVE} ORDER BY id"
        rows = self._connection.rows(statement, (len(ending), ending, *live_parameters(self._clocks())))
        return [_from_row(row) for row in rows]

    def held(self) -> list[Held]:
        """Return all claims that are held, certain or not."""
        now = self._clocks()
        left = "CASE WHEN boot_id = ? AND created_boot <= ? THEN expires_boot - ? ELSE (expires_at - ?) / 1e6 END"
        statement = f"SELECT {_COLUMNS}, {left}, asked_in FROM claims WHERE {_LIVE} ORDER BY id"
        rows = self._connection.rows(statement, (*live_parameters(now), *live_parameters(now)))
        return [Held(_from_row(row[:-2]), *row[-2:]) for row in rows]

    def search(
        self,
        page_id: str | None = None,
        limit: int = 100,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> Page[Claim]:
        """Return a page of the claims that are held, by id."""
        check_limit(limit)
        where = self._where(worker_id__eq, created_at__gte, created_at__lte)
        if page_id is not None:
            where.add("id > ?", str(decode_page_id(_KIND, page_id)))
        statement = f"SELECT {_COLUMNS} FROM claims {where} ORDER BY id LIMIT ?"
        return page_of(self._connection.rows(statement, [*where.parameters, limit + 1]), limit, _KIND, _from_row)

    def count(
        self,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> int:
        """Return how many claims are held."""
        where = self._where(worker_id__eq, created_at__gte, created_at__lte)
        return int(self._connection.rows(f"SELECT COUNT(*) FROM claims {where}", where.parameters)[0][0])

    def last_token(self) -> int:
        """Return the last fencing token that was given out here."""
        return int(self._connection.rows("SELECT value FROM counters WHERE name = 'token'")[0][0])

    def delete_expired(self) -> int:
        """Forget claims whose time is over, and return how many; they are free without this, too."""
        with self._connection.transaction() as database:
            return database.execute(f"DELETE FROM claims WHERE NOT {_LIVE}", live_parameters(self._clocks())).rowcount

    def clear(self) -> None:
        """Forget every claim, whoever holds it; tokens go on growing."""
        with self._connection.transaction() as database:
            database.execute("DELETE FROM claims")

    def _where(self, worker_id: UUID | None, earliest: datetime | None, latest: datetime | None) -> Where:
        where = Where()
        where.add(_LIVE, *live_parameters(self._clocks()))
        if worker_id is not None:
            where.add("worker_id = ?", uuid_bytes(worker_id, "worker_id__eq"))
        if earliest is not None and check_time(earliest):
            where.add("created_at >= ?", to_microseconds(earliest))
        if latest is not None and check_time(latest):
            where.add("created_at <= ?", to_microseconds(latest))
        return where


def encode_data(data: Any) -> str:
    """Return claim data as JSON.

    Raises:
        InvalidArgumentError: they are no plain JSON values, or too large.
    """
    try:
        text = msgspec.json.encode(data)
        if msgspec.json.decode(text) != data:
            raise ValueError("they do not read back as they are")
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as exc:
        raise InvalidArgumentError(f"claim data must be plain JSON values: {exc}") from exc
    if len(text) > MAX_CLAIM_DATA_BYTES:
        raise InvalidArgumentError(f"claim data takes {len(text)} bytes; at most {MAX_CLAIM_DATA_BYTES} are allowed")
    return text.decode()


def _from_row(row: tuple[Any, ...]) -> Claim:
    claim_id, worker_id, token, data, created_at, expires_at = row
    return Claim(
        id=claim_id,
        worker_id=UUID(bytes=worker_id),
        created_at=from_microseconds(created_at),
        data=msgspec.json.decode(data),
        token=token,
        expires_at=from_microseconds(expires_at),
    )
