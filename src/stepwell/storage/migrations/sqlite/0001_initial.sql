-- Every table but those for reference, of sessions and of realtime starts its key with the shard (ADR 0003, 0020, 0048).
-- Moments are milliseconds since 1970.
-- WITHOUT ROWID where rows are small and live (they are rewritten in place); with a rowid where a row carries the
-- user's data, which would crowd the inner pages of a clustered tree (ADR 0002).

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES ('schema', 0), ('epoch', 0), ('warm', 0);

-- Copies of this installation that came here or go away from here, and how far they are (ADR 0038).
CREATE TABLE moves (
  id    TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  place TEXT NOT NULL,
  rows  INTEGER NOT NULL,
  epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE functions (
  id          TEXT PRIMARY KEY,
  app_id      TEXT NOT NULL,
  config      BLOB NOT NULL,
  version     INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  archived_at INTEGER,
  pause       BLOB,
  stamp       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX functions_stamp ON functions (stamp);

-- The configurations that a function has had, the newest as well (ADR 0052).
CREATE TABLE function_versions (
  function_id   TEXT NOT NULL,
  version       INTEGER NOT NULL,
  config        BLOB NOT NULL,
  registered_at INTEGER NOT NULL,
  sdk           TEXT,
  app_version   TEXT,
  PRIMARY KEY (function_id, version)
) STRICT;

-- What operators decided about a function, an app or everything, until they take it back (ADR 0027).
CREATE TABLE standing_orders (
  kind   TEXT NOT NULL,
  target TEXT NOT NULL,
  since  INTEGER NOT NULL,
  reason TEXT NOT NULL,
  pause  BLOB,
  PRIMARY KEY (kind, target)
) STRICT, WITHOUT ROWID;

CREATE TABLE apps (
  id        TEXT PRIMARY KEY,
  url       TEXT NOT NULL,
  sdk       TEXT NOT NULL,
  framework TEXT,
  version   TEXT,
  checksum  TEXT NOT NULL,
  synced_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  shard       INTEGER NOT NULL,
  id          TEXT NOT NULL,
  name        TEXT NOT NULL,
  ts          INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  data        BLOB NOT NULL,
  key         TEXT,
  v           TEXT,
  user        BLOB,
  meta        BLOB,
  source      TEXT NOT NULL,
  depth       INTEGER NOT NULL,
  sent_by     TEXT,
  copied      INTEGER NOT NULL, -- whether it is here for a run, and at home where its id says (ADR 0035)
  PRIMARY KEY (shard, id)
) STRICT;

CREATE INDEX events_received ON events (shard, received_at, id);
CREATE INDEX events_name ON events (shard, name, received_at, id);

CREATE TABLE outcomes (
  shard       INTEGER NOT NULL,
  event_id    TEXT NOT NULL,
  function_id TEXT NOT NULL,
  kind        TEXT NOT NULL,
  at          INTEGER NOT NULL,
  reason      TEXT NOT NULL,
  run_id      TEXT,
  PRIMARY KEY (shard, event_id, function_id)
) STRICT, WITHOUT ROWID;

-- What a person kept from starting, to be started later.
CREATE INDEX outcomes_skipped ON outcomes (shard, function_id, at, event_id) WHERE kind IN ('drained', 'paused');

CREATE TABLE runs (
  shard            INTEGER NOT NULL,
  id               TEXT NOT NULL,
  function_id      TEXT NOT NULL,
  event_id         TEXT NOT NULL,
  queued_at        INTEGER NOT NULL,
  scheduled_at     INTEGER NOT NULL,
  function_version INTEGER NOT NULL,
  status           TEXT NOT NULL,
  started_at       INTEGER,
  ended_at         INTEGER,
  output           BLOB,
  reason           TEXT,
  parent           TEXT,
  parent_step      TEXT,
  depth            INTEGER NOT NULL,
  slots            TEXT,
  guarded          INTEGER NOT NULL,
  cron             TEXT,
  original         TEXT,
  execution_version INTEGER NOT NULL,
  throttle         TEXT,
  locks            TEXT,
  batch            INTEGER,
  rerun            BLOB,
  PRIMARY KEY (shard, id)
) STRICT;

CREATE INDEX runs_function ON runs (shard, function_id, id);
CREATE INDEX runs_event ON runs (shard, event_id, id);
-- Nearly all runs complete: leaving those out keeps this index as small as what is alive or went wrong.
CREATE INDEX runs_status ON runs (shard, status, id) WHERE status <> 'COMPLETED';
CREATE INDEX runs_ended ON runs (shard, ended_at, id) WHERE ended_at IS NOT NULL;
CREATE INDEX runs_original ON runs (shard, original, id) WHERE original IS NOT NULL;
CREATE INDEX runs_parent ON runs (shard, parent) WHERE parent IS NOT NULL;

CREATE TABLE run_events (
  shard    INTEGER NOT NULL,
  run_id   TEXT NOT NULL,
  place    INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  PRIMARY KEY (shard, run_id, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX run_events_event ON run_events (shard, event_id, run_id);

CREATE TABLE steps (
  shard      INTEGER NOT NULL,
  run_id     TEXT NOT NULL,
  id         TEXT NOT NULL,
  name       TEXT NOT NULL,
  kind       TEXT NOT NULL,
  status     TEXT NOT NULL,
  repeat     INTEGER NOT NULL,
  position   INTEGER NOT NULL,
  attempt    INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at   INTEGER,
  due        INTEGER,
  output     BLOB,
  details    BLOB,
  parallel   TEXT,
  PRIMARY KEY (shard, run_id, id)
) STRICT;

CREATE TABLE attempts (
  shard      INTEGER NOT NULL,
  run_id     TEXT NOT NULL,
  step_id    TEXT NOT NULL,
  attempt    INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at   INTEGER NOT NULL,
  error      BLOB NOT NULL,
  retry_at   INTEGER,
  PRIMARY KEY (shard, run_id, step_id, attempt, started_at)
) STRICT;

CREATE TABLE notes (
  shard  INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  at     INTEGER NOT NULL,
  kind   TEXT NOT NULL,
  text   TEXT NOT NULL
) STRICT;

CREATE INDEX notes_run ON notes (shard, run_id);

CREATE TABLE metadata (
  shard      INTEGER NOT NULL,
  run_id     TEXT NOT NULL,
  step_id    TEXT NOT NULL,
  attempt    INTEGER NOT NULL,
  kind       TEXT NOT NULL,
  "values"   BLOB NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (shard, run_id, step_id, attempt, kind)
) STRICT;

-- What code has logged, for people who look (ADR 0050).
CREATE TABLE logs (
  shard    INTEGER NOT NULL,
  run_id   TEXT NOT NULL,
  at       INTEGER NOT NULL,
  token    INTEGER NOT NULL,
  step_id  TEXT NOT NULL,
  attempt  INTEGER NOT NULL,
  position INTEGER NOT NULL,
  name     TEXT NOT NULL,
  lines    BLOB NOT NULL,
  dropped  INTEGER NOT NULL,
  PRIMARY KEY (shard, run_id, at, token, position, step_id, attempt)
) STRICT;

CREATE TABLE items (
  shard       INTEGER NOT NULL,
  id          TEXT NOT NULL,
  kind        TEXT NOT NULL,
  function_id TEXT NOT NULL,
  at          INTEGER,
  run_id      TEXT,
  lease       INTEGER NOT NULL,
  attempt     INTEGER NOT NULL,
  backlog     TEXT,
  queued_at   INTEGER NOT NULL,
  poked       INTEGER NOT NULL,
  losses      INTEGER NOT NULL,
  mark        INTEGER NOT NULL,
  PRIMARY KEY (shard, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX items_due ON items (shard, at, id) WHERE at IS NOT NULL;
CREATE INDEX items_timers ON items (shard, at, id) WHERE at IS NOT NULL AND kind <> 'run';
CREATE INDEX items_backlog ON items (shard, backlog, queued_at, id) WHERE backlog IS NOT NULL;
CREATE INDEX items_shared ON items (shard, backlog, function_id, queued_at, id)
  WHERE (backlog >= 'account/' AND backlog < 'account0' OR backlog >= 'env/' AND backlog < 'env0'
    OR backlog >= 'run/account/' AND backlog < 'run/account0' OR backlog >= 'run/env/' AND backlog < 'run/env0');
CREATE INDEX items_function ON items (shard, function_id, id) WHERE run_id IS NULL;

CREATE TABLE waits (
  shard      INTEGER NOT NULL,
  run_id     TEXT NOT NULL,
  id         TEXT NOT NULL,
  kind       TEXT NOT NULL,
  event_name TEXT NOT NULL,
  since      INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  condition  TEXT,
  path       TEXT NOT NULL,
  value      TEXT NOT NULL,
  PRIMARY KEY (shard, run_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX waits_event ON waits (shard, event_name, path, value, run_id, id);

-- What the engine is to send for a step, with the keys of others in it: apart from all that is shown, and gone when the
-- step has its result (ADR 0016).
CREATE TABLE requests (
  shard   INTEGER NOT NULL,
  run_id  TEXT NOT NULL,
  step_id TEXT NOT NULL,
  content BLOB NOT NULL,
  PRIMARY KEY (shard, run_id, step_id)
) STRICT;

-- What is to be done about many runs, and how far that has come (ADR 0021, 0026).
CREATE TABLE orders (
  shard      INTEGER NOT NULL,
  id         TEXT NOT NULL,
  kind       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  what       BLOB NOT NULL,
  stage      INTEGER NOT NULL,
  position   TEXT NOT NULL,
  examined   INTEGER NOT NULL,
  done       INTEGER NOT NULL,
  skipped    INTEGER NOT NULL,
  ended_at   INTEGER,
  aborted    INTEGER NOT NULL,
  PRIMARY KEY (shard, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX orders_kind ON orders (shard, kind, id);
CREATE INDEX orders_ended ON orders (shard, ended_at, id) WHERE ended_at IS NOT NULL;

CREATE TABLE cells (
  shard      INTEGER NOT NULL,
  key        TEXT NOT NULL,
  value      TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (shard, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX cells_expiry ON cells (shard, expires_at, key);

CREATE TABLE slots (
  shard  INTEGER NOT NULL,
  key    TEXT NOT NULL,
  holder TEXT NOT NULL,
  PRIMARY KEY (shard, key, holder)
) STRICT, WITHOUT ROWID;

CREATE INDEX slots_holder ON slots (shard, holder, key);

-- Realtime (ADR 0020). Both are small and short-lived: processes that have subscribers, and messages that they are to
-- fetch. Ids must never be given twice, also when all rows are gone: a reader goes on after the last that it has seen.
CREATE TABLE listeners (
  id         TEXT PRIMARY KEY,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE postings (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  origin     TEXT NOT NULL,
  channel    TEXT NOT NULL,
  topic      TEXT NOT NULL,
  body       BLOB NOT NULL,
  raw        INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX postings_expiry ON postings (expires_at);

-- Who may log in, and who is logged in (ADR 0048). The password is a hash, and so is the id of a session.
CREATE TABLE users (
  name       TEXT PRIMARY KEY,
  role       TEXT NOT NULL,
  password   TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
  id         TEXT PRIMARY KEY,
  who        TEXT NOT NULL,
  begun_at   INTEGER NOT NULL,
  seen_at    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  agent      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_who ON sessions (who, begun_at, id);
CREATE INDEX sessions_begun ON sessions (begun_at, id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- What people did, at a place of its own or at that of the run it was about.
CREATE TABLE audit (
  shard   INTEGER NOT NULL,
  id      TEXT NOT NULL,
  at      INTEGER NOT NULL,
  who     TEXT NOT NULL,
  via     TEXT NOT NULL,
  action  TEXT NOT NULL,
  target  TEXT NOT NULL,
  detail  TEXT NOT NULL,
  request TEXT NOT NULL,
  PRIMARY KEY (shard, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_who ON audit (shard, who, id);
CREATE INDEX audit_target ON audit (shard, target, id);
CREATE INDEX audit_at ON audit (shard, at, id);
