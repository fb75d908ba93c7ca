-- Every table but those for reference, of sessions and of realtime starts its key with the shard (ADR 0003, 0020, 0048).
-- Moments are milliseconds since 1970.
-- The same tables and columns as in a file, so that rows are the same values. Texts are ordered by their bytes: the
-- engine walks over ranges of names, and what one process calls the next must be that for all.
--
-- `seen` takes the place of a file's rowid: the order in which rows of a shard were first written. The writer makes it
-- from the version of the shard, which it has counted up under the lock, so no sequence is relied upon.
--
-- Autovacuum comes to history when a twentieth of it is gone, so that retention's room is used again, and to what is alive
-- when a fiftieth was rewritten (ADR 0041). Rows that are rewritten in place have room for that on their pages.

CREATE TABLE meta (
  key   text COLLATE "C" PRIMARY KEY,
  value bigint NOT NULL
);

INSERT INTO meta VALUES ('schema', 0), ('epoch', 0), ('shards', 0), ('posting', 0);

-- One row for each shard, made when the database is created. Every writing transaction counts up the versions of the
-- shards that it touches before anything else, in ascending order, and so holds their locks. `swept_at` is when retention
-- last took something away there.
CREATE TABLE shards (
  shard    bigint PRIMARY KEY,
  version  bigint NOT NULL,
  swept_at bigint NOT NULL
) WITH (fillfactor = 50);

-- The last transaction of each writer in a shard: what tells whether a COMMIT whose answer was lost took effect.
CREATE TABLE commits (
  shard  bigint NOT NULL,
  writer text COLLATE "C" NOT NULL,
  number bigint NOT NULL,
  at     bigint NOT NULL,
  PRIMARY KEY (shard, writer)
) WITH (fillfactor = 50);

-- Copies of this installation that came here or go away from here, and how far they are (ADR 0038).
CREATE TABLE moves (
  id    text COLLATE "C" PRIMARY KEY,
  state text COLLATE "C" NOT NULL,
  place text COLLATE "C" NOT NULL,
  rows  bigint NOT NULL,
  epoch bigint NOT NULL
);

CREATE TABLE functions (
  id          text COLLATE "C" PRIMARY KEY,
  app_id      text COLLATE "C" NOT NULL,
  config      bytea NOT NULL,
  version     bigint NOT NULL,
  updated_at  bigint NOT NULL,
  archived_at bigint,
  pause       bytea,
  stamp       bigint NOT NULL
);

CREATE INDEX functions_stamp ON functions (stamp);

-- The configurations that a function has had, the newest as well (ADR 0052).
CREATE TABLE function_versions (
  function_id   text COLLATE "C" NOT NULL,
  version       bigint NOT NULL,
  config        bytea NOT NULL,
  registered_at bigint NOT NULL,
  sdk           text COLLATE "C",
  app_version   text COLLATE "C",
  PRIMARY KEY (function_id, version)
);

-- What operators decided about a function, an app or everything, until they take it back (ADR 0027).
CREATE TABLE standing_orders (
  kind   text COLLATE "C" NOT NULL,
  target text COLLATE "C" NOT NULL,
  since  bigint NOT NULL,
  reason text COLLATE "C" NOT NULL,
  pause  bytea,
  PRIMARY KEY (kind, target)
);

CREATE TABLE apps (
  id        text COLLATE "C" PRIMARY KEY,
  url       text COLLATE "C" NOT NULL,
  sdk       text COLLATE "C" NOT NULL,
  framework text COLLATE "C",
  version   text COLLATE "C",
  checksum  text COLLATE "C" NOT NULL,
  synced_at bigint NOT NULL
);

CREATE TABLE events (
  shard       bigint NOT NULL,
  id          text COLLATE "C" NOT NULL,
  name        text COLLATE "C" NOT NULL,
  ts          bigint NOT NULL,
  received_at bigint NOT NULL,
  data        bytea NOT NULL,
  key         text COLLATE "C",
  v           text COLLATE "C",
  "user"      bytea,
  meta        bytea,
  source      text COLLATE "C" NOT NULL,
  depth       bigint NOT NULL,
  sent_by     text COLLATE "C",
  copied      bigint NOT NULL,
  PRIMARY KEY (shard, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000);

CREATE INDEX events_received ON events (shard, received_at, id);
CREATE INDEX events_name ON events (shard, name, received_at, id);

CREATE TABLE outcomes (
  shard       bigint NOT NULL,
  event_id    text COLLATE "C" NOT NULL,
  function_id text COLLATE "C" NOT NULL,
  kind        text COLLATE "C" NOT NULL,
  at          bigint NOT NULL,
  reason      text COLLATE "C" NOT NULL,
  run_id      text COLLATE "C",
  PRIMARY KEY (shard, event_id, function_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000);

-- What a person kept from starting, to be started later.
CREATE INDEX outcomes_skipped ON outcomes (shard, function_id, at, event_id) WHERE kind IN ('drained', 'paused');

CREATE TABLE runs (
  shard            bigint NOT NULL,
  id               text COLLATE "C" NOT NULL,
  function_id      text COLLATE "C" NOT NULL,
  event_id         text COLLATE "C" NOT NULL,
  queued_at        bigint NOT NULL,
  scheduled_at     bigint NOT NULL,
  function_version bigint NOT NULL,
  status           text COLLATE "C" NOT NULL,
  started_at       bigint,
  ended_at         bigint,
  output           bytea,
  reason           text COLLATE "C",
  parent           text COLLATE "C",
  parent_step      text COLLATE "C",
  depth            bigint NOT NULL,
  slots            text COLLATE "C",
  guarded          bigint NOT NULL,
  cron             text COLLATE "C",
  original         text COLLATE "C",
  execution_version bigint NOT NULL,
  throttle         text COLLATE "C",
  locks            text COLLATE "C",
  batch            bigint,
  rerun            bytea,
  PRIMARY KEY (shard, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000);

CREATE INDEX runs_function ON runs (shard, function_id, id);
CREATE INDEX runs_event ON runs (shard, event_id, id);
-- Nearly all runs complete: leaving those out keeps this index as small as what is alive or went wrong.
CREATE INDEX runs_status ON runs (shard, status, id) WHERE status <> 'COMPLETED';
CREATE INDEX runs_ended ON runs (shard, ended_at, id) WHERE ended_at IS NOT NULL;
CREATE INDEX runs_original ON runs (shard, original, id) WHERE original IS NOT NULL;
CREATE INDEX runs_parent ON runs (shard, parent) WHERE parent IS NOT NULL;

CREATE TABLE run_events (
  shard    bigint NOT NULL,
  run_id   text COLLATE "C" NOT NULL,
  place    bigint NOT NULL,
  event_id text COLLATE "C" NOT NULL,
  PRIMARY KEY (shard, run_id, place)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000);

CREATE INDEX run_events_event ON run_events (shard, event_id, run_id);

CREATE TABLE steps (
  shard      bigint NOT NULL,
  run_id     text COLLATE "C" NOT NULL,
  id         text COLLATE "C" NOT NULL,
  name       text COLLATE "C" NOT NULL,
  kind       text COLLATE "C" NOT NULL,
  status     text COLLATE "C" NOT NULL,
  repeat     bigint NOT NULL,
  position   bigint NOT NULL,
  attempt    bigint NOT NULL,
  started_at bigint NOT NULL,
  ended_at   bigint,
  due        bigint,
  output     bytea,
  details    bytea,
  parallel   text COLLATE "C",
  seen       bigint NOT NULL,
  PRIMARY KEY (shard, run_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000);

CREATE TABLE attempts (
  shard      bigint NOT NULL,
  run_id     text COLLATE "C" NOT NULL,
  step_id    text COLLATE "C" NOT NULL,
  attempt    bigint NOT NULL,
  started_at bigint NOT NULL,
  ended_at   bigint NOT NULL,
  error      bytea NOT NULL,
  retry_at   bigint,
  seen       bigint NOT NULL,
  PRIMARY KEY (shard, run_id, step_id, attempt, started_at)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000);

CREATE TABLE notes (
  shard  bigint NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  at     bigint NOT NULL,
  kind   text COLLATE "C" NOT NULL,
  text   text COLLATE "C" NOT NULL,
  seen   bigint NOT NULL,
  PRIMARY KEY (shard, run_id, seen)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000);

CREATE TABLE metadata (
  shard      bigint NOT NULL,
  run_id     text COLLATE "C" NOT NULL,
  step_id    text COLLATE "C" NOT NULL,
  attempt    bigint NOT NULL,
  kind       text COLLATE "C" NOT NULL,
  "values"   bytea NOT NULL,
  updated_at bigint NOT NULL,
  PRIMARY KEY (shard, run_id, step_id, attempt, kind)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000);

-- What code has logged, for people who look (ADR 0050).
CREATE TABLE logs (
  shard    bigint NOT NULL,
  run_id   text COLLATE "C" NOT NULL,
  at       bigint NOT NULL,
  token    bigint NOT NULL,
  step_id  text COLLATE "C" NOT NULL,
  attempt  bigint NOT NULL,
  position bigint NOT NULL,
  name     text COLLATE "C" NOT NULL,
  lines    bytea NOT NULL,
  dropped  bigint NOT NULL,
  PRIMARY KEY (shard, run_id, at, token, position, step_id, attempt)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000);

CREATE TABLE items (
  shard       bigint NOT NULL,
  id          text COLLATE "C" NOT NULL,
  kind        text COLLATE "C" NOT NULL,
  function_id text COLLATE "C" NOT NULL,
  at          bigint,
  run_id      text COLLATE "C",
  lease       bigint NOT NULL,
  attempt     bigint NOT NULL,
  backlog     text COLLATE "C",
  queued_at   bigint NOT NULL,
  poked       bigint NOT NULL,
  losses      bigint NOT NULL,
  mark        bigint NOT NULL,
  PRIMARY KEY (shard, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX items_due ON items (shard, at, id) WHERE at IS NOT NULL;
CREATE INDEX items_timers ON items (shard, at, id) WHERE at IS NOT NULL AND kind <> 'run';
CREATE INDEX items_backlog ON items (shard, backlog, queued_at, id) WHERE backlog IS NOT NULL;
CREATE INDEX items_shared ON items (shard, backlog, function_id, queued_at, id)
  WHERE (backlog >= 'account/' AND backlog < 'account0' OR backlog >= 'env/' AND backlog < 'env0'
    OR backlog >= 'run/account/' AND backlog < 'run/account0' OR backlog >= 'run/env/' AND backlog < 'run/env0');
CREATE INDEX items_function ON items (shard, function_id, id) WHERE run_id IS NULL;

CREATE TABLE waits (
  shard      bigint NOT NULL,
  run_id     text COLLATE "C" NOT NULL,
  id         text COLLATE "C" NOT NULL,
  kind       text COLLATE "C" NOT NULL,
  event_name text COLLATE "C" NOT NULL,
  since      bigint NOT NULL,
  expires_at bigint NOT NULL,
  condition  text COLLATE "C",
  path       text COLLATE "C" NOT NULL,
  value      text COLLATE "C" NOT NULL,
  PRIMARY KEY (shard, run_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX waits_event ON waits (shard, event_name, path, value, run_id, id);

-- What the engine is to send for a step, with the keys of others in it: apart from all that is shown, and gone when the
-- step has its result (ADR 0016).
CREATE TABLE requests (
  shard   bigint NOT NULL,
  run_id  text COLLATE "C" NOT NULL,
  step_id text COLLATE "C" NOT NULL,
  content bytea NOT NULL,
  PRIMARY KEY (shard, run_id, step_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

-- What is to be done about many runs, and how far that has come (ADR 0021, 0026).
CREATE TABLE orders (
  shard      bigint NOT NULL,
  id         text COLLATE "C" NOT NULL,
  kind       text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  what       bytea NOT NULL,
  stage      bigint NOT NULL,
  position   text COLLATE "C" NOT NULL,
  examined   bigint NOT NULL,
  done       bigint NOT NULL,
  skipped    bigint NOT NULL,
  ended_at   bigint,
  aborted    bigint NOT NULL,
  PRIMARY KEY (shard, id)
);

CREATE INDEX orders_kind ON orders (shard, kind, id);
CREATE INDEX orders_ended ON orders (shard, ended_at, id) WHERE ended_at IS NOT NULL;

CREATE TABLE cells (
  shard      bigint NOT NULL,
  key        text COLLATE "C" NOT NULL,
  value      text COLLATE "C" NOT NULL,
  expires_at bigint NOT NULL,
  PRIMARY KEY (shard, key)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX cells_expiry ON cells (shard, expires_at, key);

CREATE TABLE slots (
  shard  bigint NOT NULL,
  key    text COLLATE "C" NOT NULL,
  holder text COLLATE "C" NOT NULL,
  PRIMARY KEY (shard, key, holder)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX slots_holder ON slots (shard, holder, key);

-- Realtime (ADR 0020). Both are small and short-lived: processes that have subscribers, and messages that they are to
-- fetch. Ids rise in the order of commits and are never given twice, also when all rows are gone: a reader goes on after
-- the last that it has seen. They are made as `seen` is, under the lock of shard 0.
CREATE TABLE listeners (
  id         text COLLATE "C" PRIMARY KEY,
  expires_at bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE postings (
  id         bigint PRIMARY KEY,
  origin     text COLLATE "C" NOT NULL,
  channel    text COLLATE "C" NOT NULL,
  topic      text COLLATE "C" NOT NULL,
  body       bytea NOT NULL,
  raw        bigint NOT NULL,
  expires_at bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX postings_expiry ON postings (expires_at);

-- Who may log in, and who is logged in (ADR 0048). The password is a hash, and so is the id of a session.
CREATE TABLE users (
  name       text COLLATE "C" PRIMARY KEY,
  role       text COLLATE "C" NOT NULL,
  password   text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  changed_at bigint NOT NULL
);

CREATE TABLE sessions (
  id         text COLLATE "C" PRIMARY KEY,
  who        text COLLATE "C" NOT NULL,
  begun_at   bigint NOT NULL,
  seen_at    bigint NOT NULL,
  expires_at bigint NOT NULL,
  agent      text COLLATE "C" NOT NULL
);

CREATE INDEX sessions_who ON sessions (who, begun_at, id);
CREATE INDEX sessions_begun ON sessions (begun_at, id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- What people did, at a place of its own or at that of the run it was about.
CREATE TABLE audit (
  shard   bigint NOT NULL,
  id      text COLLATE "C" NOT NULL,
  at      bigint NOT NULL,
  who     text COLLATE "C" NOT NULL,
  via     text COLLATE "C" NOT NULL,
  action  text COLLATE "C" NOT NULL,
  target  text COLLATE "C" NOT NULL,
  detail  text COLLATE "C" NOT NULL,
  request text COLLATE "C" NOT NULL,
  PRIMARY KEY (shard, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000);

CREATE INDEX audit_who ON audit (shard, who, id);
CREATE INDEX audit_target ON audit (shard, target, id);
CREATE INDEX audit_at ON audit (shard, at, id);
