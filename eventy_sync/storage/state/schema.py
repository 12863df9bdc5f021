"""The tables of ``state.db``.

Ids of results and subscriptions are time-ordered, so rows are appended; times are microseconds since
1970, UTC.  `counters` holds what must not be counted or guessed: how many results there are, how many there were and
are forgotten, how many failures there have ever been, the last fencing token, the last one that was given out without
asking Redis, and a number that grows with every change to the subscriptions.  `remembered` holds what a root that is
coordinated with others must still know when it cannot ask.  `result_runs` holds many results in a row each, see
`result_runs.py`.  Of a group are kept its place, what is leased and what waits, and dead letters; `finished` only
where several roots have to agree, and `token` tells which of two roots knows later things of an event.  `begun_at` of
an event that waits without ever having been handed out is 0; see `removed_groups.py` for groups that are no more.
`event_keys` says which event has a key, for as long as no other may have it.
"""

_FIRST = (
    """CREATE TABLE results (
        id BLOB PRIMARY KEY, event_id INTEGER NOT NULL, worker_id BLOB NOT NULL, success INTEGER NOT NULL,
        details TEXT, created_at INTEGER NOT NULL, subscription_id BLOB, group_name TEXT, attempt INTEGER NOT NULL,
        token INTEGER, duration_seconds REAL NOT NULL, stale INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX results_by_event ON results (event_id)",
    "CREATE INDEX results_by_worker ON results (worker_id)",
    """CREATE TABLE claims (
        id TEXT PRIMARY KEY, worker_id BLOB NOT NULL, token INTEGER NOT NULL, data TEXT NOT NULL,
        created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
        boot_id TEXT NOT NULL, created_boot REAL NOT NULL, expires_boot REAL NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE subscriptions (
        id BLOB PRIMARY KEY, type_name TEXT NOT NULL, body BLOB NOT NULL, from_index INTEGER NOT NULL,
        explicit_start INTEGER NOT NULL, created_at INTEGER NOT NULL, worker_id BLOB NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE remembered (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO counters VALUES ('results', 0), ('token', 0), ('subscriptions_version', 0)",
)
_SEVERAL_ROOTS = (
    """CREATE TABLE IF NOT EXISTS outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body BLOB NOT NULL
    )""",
    "CREATE TABLE removed_subscriptions (id BLOB PRIMARY KEY) WITHOUT ROWID",
)
_RUNS = (
    # with rowids: a row is as wide as its run is long, and a tree without them would have such rows for branches
    """CREATE TABLE result_runs (
        base_id BLOB NOT NULL UNIQUE, first_event_id INTEGER NOT NULL, count INTEGER NOT NULL, worker_id BLOB NOT NULL,
        group_name TEXT, subscription_id BLOB, attempt INTEGER NOT NULL, token INTEGER, created_at INTEGER NOT NULL,
        last_at INTEGER NOT NULL, stale INTEGER NOT NULL, times BLOB NOT NULL
    )""",
    "CREATE INDEX result_runs_by_event ON result_runs (first_event_id)",
    "CREATE INDEX result_runs_by_worker ON result_runs (worker_id, base_id)",
    "CREATE INDEX result_runs_by_group ON result_runs (group_name, base_id)",
    "CREATE INDEX results_by_group ON results (group_name) WHERE group_name IS NOT NULL",
    "CREATE INDEX results_failed ON results (id) WHERE success = 0",
)

_GROUPS = (
    """CREATE TABLE groups (
        name TEXT PRIMARY KEY, from_index INTEGER NOT NULL, next_id INTEGER NOT NULL, token INTEGER NOT NULL,
        paused INTEGER NOT NULL, created_at INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE leases (
        group_name TEXT NOT NULL, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL, attempt INTEGER NOT NULL,
        token INTEGER NOT NULL, worker_id BLOB NOT NULL, begun_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
        boot_id TEXT NOT NULL, created_boot REAL NOT NULL, expires_boot REAL NOT NULL,
        PRIMARY KEY (group_name, first_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE waiting (
        group_name TEXT NOT NULL, event_id INTEGER NOT NULL, attempts INTEGER NOT NULL, due_at INTEGER NOT NULL,
        begun_at INTEGER NOT NULL, token INTEGER NOT NULL, PRIMARY KEY (group_name, event_id)
    ) WITHOUT ROWID""",
    "CREATE INDEX waiting_by_time ON waiting (group_name, due_at)",
    """CREATE TABLE dead_letters (
        group_name TEXT NOT NULL, event_id INTEGER NOT NULL, attempts INTEGER NOT NULL, details TEXT NOT NULL,
        worker_id BLOB NOT NULL, begun_at INTEGER NOT NULL, died_at INTEGER NOT NULL, token INTEGER NOT NULL,
        PRIMARY KEY (group_name, event_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE finished (
        group_name TEXT NOT NULL, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL,
        PRIMARY KEY (group_name, first_id)
    ) WITHOUT ROWID""",
)

_KEYS = (
    """CREATE TABLE event_keys (
        key TEXT PRIMARY KEY, event_id INTEGER NOT NULL, expires_at INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX event_keys_by_time ON event_keys (expires_at)",
)

_CLAIMS_ASKED_FOR = (
    "ALTER TABLE claims ADD COLUMN asked_in TEXT NOT NULL DEFAULT ''",  # see `Held`
    "INSERT INTO counters VALUES ('token_alone', 0)",
)

_TOTALS = (
    "INSERT INTO counters VALUES ('results_forgotten', 0)",
    "INSERT INTO counters SELECT 'failures_ever', COUNT(*) FROM results INDEXED BY results_failed WHERE success = 0",
    "CREATE INDEX dead_letters_by_group ON dead_letters (group_name)",  # to count them without reading their tracebacks
)

_REMOVED_GROUPS = ("CREATE TABLE removed_groups (name TEXT PRIMARY KEY, birth INTEGER NOT NULL) WITHOUT ROWID",)

STEPS = (_FIRST, _SEVERAL_ROOTS, _RUNS, _GROUPS, _KEYS, _CLAIMS_ASKED_FOR, _TOTALS, _REMOVED_GROUPS)
"""What each version adds to the one before."""

VERSION = len(STEPS)
