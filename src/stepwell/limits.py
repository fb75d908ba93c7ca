"""Every limit, with its unit and the reason for it (semantics §16)."""

from __future__ import annotations

from datetime import timedelta

# Events. They are copied into each call of each run they start, so they stay small.
EVENT_BYTES_MAX = 512 * 1024
EVENT_BYTES_CEILING = 3 * 1024 * 1024  # what EVENT_BYTES_MAX can be set to
EVENTS_PER_REQUEST_MAX = 5_000
EVENT_NAME_BYTES_MAX = 512
EVENT_ID_BYTES_MAX = 512
SIGNAL_BYTES_MAX = 512  # the name of a signal
EVENT_TS_MS_MIN = 315_532_800_000  # 1980-01-01: an earlier moment is a unit mistake
EVENT_TS_MS_MAX = 4_102_444_800_000  # 2100-01-01: so is a later one
JSON_DEPTH_MAX = 128  # deeper documents are attacks on recursive readers
REQUEST_BYTES_MAX = 32 * 1024 * 1024
TRACES_BYTES_MAX = 8 * 1024 * 1024  # spans of an app in one request (protocol §10.1)

# Function configuration.
TRIGGER_CHARS_MAX = 255
CRON_CHARS_MAX = 255
TRIGGERS_MAX = 10
CANCELS_MAX = 5
CONCURRENCY_ENTRIES_MAX = 2
CONTROL_PERIOD_MIN, CONTROL_PERIOD_MAX = timedelta(seconds=1), timedelta(days=7)  # throttle, debounce
RATE_LIMIT_PERIOD_MAX = timedelta(hours=24)
BATCH_EVENTS_MAX = 100
BATCH_BYTES_MAX = 10 * 1024 * 1024  # a batch that has as much starts at once
BATCH_TIMEOUT_DEFAULT = timedelta(seconds=60)
PRIORITY_MAX = timedelta(hours=12)  # in both directions
ID_CHARS_MAX = 255
URL_CHARS_MAX = 2_048
TOKEN_CHARS_MAX = 16 * 1024  # it is part of an address
ENDPOINTS_PER_APP_MAX = 1_000  # a path with an id in it would make a function of each id
FUNCTION_VERSIONS_KEPT = 100  # configurations of a function, the newest: an app that goes to and fro fills no disk
JITTER_MIN, JITTER_MAX = timedelta(seconds=1), timedelta(minutes=5)

# Retries (semantics §6).
RETRIES_DEFAULT = 4
RETRIES_MAX = 20
RETRY_DELAY_MIN, RETRY_DELAY_MAX = timedelta(seconds=1), timedelta(hours=24)

# State of one run. Replay reads all of it, so it is bounded.
STEPS_PER_RUN_MAX = 1_000
STEPS_PER_RUN_CEILING = 10_000  # what STEPS_PER_RUN_MAX can be set to
STEP_BYTES_MAX = 4 * 1024 * 1024
RUN_STATE_BYTES_MAX = 32 * 1024 * 1024
FETCH_URL_CHARS_MAX = 8_192
FETCH_ERROR_BYTES_MAX = 64 * 1024  # of what a model's provider says to a request that it refuses
OPS_PER_ANSWER_MAX = 1_000
ANSWER_BYTES_MAX = 8 * 1024 * 1024
SERVED_BYTES_MAX = 16 * 1024 * 1024  # a call of an app; that of on_failure has all events of a batch in its own event

# Functions that a run puts off until its end (semantics §5.11).
DEFERS_PER_RUN_MAX = 20
DEFER_BYTES_MAX = 4 * 1024 * 1024  # the data of each, and of all of a run
DEFER_META_BYTES_MAX = 32 * 1024

# What is said about a run (semantics §5.10).
METADATA_BYTES_MAX = 64 * 1024  # of one kind about one target
METADATA_PER_RUN_BYTES_MAX = 1024 * 1024
METADATA_KIND_BYTES_MAX = 128
METADATA_PER_RUN_MAX = 1_000  # kinds, for each target anew: all of them are read when one is written

# What is kept of what code logs (ADR 0050). It is for people, who read the first lines; all of it is in the app's log.
LOG_LINES_MAX = 500  # of one attempt at a step, and of the code between two steps
LOG_LINE_BYTES_MAX = 4 * 1024  # a traceback fits, a dumped document does not
LOG_BYTES_MAX = 64 * 1024  # of the same as the lines
LOG_PER_RUN_BYTES_MAX = 1024 * 1024
LOG_PAUSE = timedelta(seconds=1)  # what a body says that runs on is written down so often: seen within twice that

REPLAY_NAME_CHARS_MAX = 255
PAUSE_REASON_CHARS_MAX = 500  # one line, shown wherever somebody asks why

# Time.
MOMENT_MS_MAX = 253_402_300_799_999  # the last of the year 9999: a later one, or one before 1970, has no text
SLEEP_MAX = timedelta(days=366)
WAIT_DEFAULT = timedelta(days=365)  # invoke, signal and cancel listeners without a timeout
DEDUPE_WINDOW = timedelta(hours=24)  # event ids and idempotency keys
CALL_TIME_MAX = timedelta(hours=2)  # one request to an app
APP_PAUSE_MAX = timedelta(minutes=1)  # between two questions to an app that does not answer what it has
ANSWER_PAUSE_MAX = timedelta(minutes=10)  # an answer that has begun and stops; streaming SDKs send spaces meanwhile
ENDPOINT_SILENCE = timedelta(minutes=5)  # a durable endpoint that reports nothing for so long is taken for dead
OUTPUT_WAIT_MAX = timedelta(minutes=5)  # proxies cut connections on which nothing happens
OUTPUT_TOKEN_LIFE = timedelta(days=30)  # a result is not kept for longer, unless somebody says so
REALTIME_TOKEN_LIFE = timedelta(minutes=15)  # of the token that an endpoint hands to its client
FETCH_TIME_MAX = timedelta(minutes=30)  # one request that the engine makes for a step: models may think for long
LEASE = timedelta(seconds=30)  # a dead holder blocks its item for at most this long
LEASE_SETTING_MIN, LEASE_SETTING_MAX = timedelta(seconds=3), timedelta(minutes=1)  # what can be said as --lease
LEASE_LOSSES_MAX = 20  # a run whose process dies this often in a row without progress is what kills it
LEASE_LOSS_PAUSE_MAX = timedelta(minutes=1)  # for how long such a run is left alone in between, at most
RETENTION_DEFAULT = timedelta(days=30)

# Expressions (invariants S31).
EXPRESSION_BYTES_MAX = 4 * 1024
EXPRESSION_NODES_MAX = 1_000
EXPRESSION_DEPTH_MAX = 50
EXPRESSION_STEPS_MAX = 100_000

# One process.
CALLS_MAX = 1_000  # calls in flight when nothing says otherwise
RUN_CHAIN_CEILING = 10_000  # what RUN_CHAIN_MAX can be set to, unless it is off
RUN_CHAIN_MAX = 100  # runs that start one another; functions that start each other for ever are stopped here

# A database of several shards (ADR 0034). Ids name their place by their last ten bits, so there are no more.
SHARDS_DEFAULT = 16  # fixed when the tables are made; two decisions of one shard wait for one another
SHARDS_MAX = 1_024
POOL_DEFAULT = 8  # connections of one process: some write, each in a shard of its own, and two read
POOL_MIN = 3

# Realtime (semantics §15.1). Nothing of it is durable, so what is not fetched in time is lost.
REALTIME_BYTES_MAX = 512 * 1024  # one message
REALTIME_NAME_BYTES_MAX = 512  # a channel or a topic
REALTIME_METADATA_BYTES_MAX = 4 * 1024
REALTIME_CHUNK_BYTES_MAX = 1_024  # a stream is passed on in pieces of this size
REALTIME_CHUNKS_MAX = 1_000  # of one stream
REALTIME_TOPICS_MAX = 64  # of one subscriber; they are all in its token
REALTIME_SUBSCRIBERS_MAX = 4_096  # of one process
REALTIME_WAITING_MAX = 2_048  # messages that wait for a slow subscriber, before it is closed; a whole stream fits
REALTIME_WAITING_BYTES_MAX = 8 * 1024 * 1024
REALTIME_KEPT_MAX = 4_096  # messages that wait in the database for other processes
REALTIME_KEPT = timedelta(seconds=5)  # and for how long
REALTIME_STREAM_MAX = timedelta(minutes=15)  # one request that publishes a stream, or reads one
TOKEN_TIME = timedelta(minutes=1)  # it has to be used by then; a connection made with it lives on

# Workers that connect (protocol §11).
CONNECT_FRAME_BYTES_MAX = 8 * 1024 * 1024  # what a worker says in one message
CONNECT_LIST_MAX = 1_000  # members of one list in a message
CONNECT_MEMBERS_MAX = 10_000  # of one message, also those that we do not know: to pass one over costs time
CONNECT_APPS_MAX = 10  # of one connection
CONNECT_WORKERS_MAX = 1_000  # connections of one process
CONNECT_STRANGERS_MAX = 1_000  # connections that have not said yet who they are
CONNECT_CONCURRENCY_DEFAULT = 1_000  # calls in flight in one worker that does not say
CONNECT_WAITING_BYTES_MAX = 64 * 1024 * 1024  # what waits for a worker that reads slowly, before it is cut off
CONNECT_HELLO_TIME_MAX = timedelta(seconds=5)  # a new connection says who it is
CONNECT_ACK_TIME_MAX = timedelta(seconds=5)  # a worker says that it has got a call
CONNECT_HEARTBEAT = timedelta(seconds=10)  # between signs of life of a worker
CONNECT_HEARTBEATS_MISSED_MAX = 5  # in a row, before it is taken for gone
CONNECT_LEASE = timedelta(minutes=2)  # a call whose worker says nothing of it for so long goes to another
CONNECT_LEASE_MIN = timedelta(seconds=4)  # workers extend leases after whole seconds
CONNECT_PATIENCE = timedelta(seconds=10)  # for a worker to come back, before a run without one is put aside
CONNECT_TOKEN_LIFE = timedelta(minutes=5)  # from the request to connect to the connection

# The dashboard. Each page that is open has a connection, and is told what changes.
HINT_TOPICS_MAX = 16  # what one page looks at
HINT_SUBSCRIBERS_MAX = 1_024  # pages that look at one process
SEARCH_ROWS_MAX = 1_000  # of runs that one request looks at for those that match; the next one goes on there
ENDINGS_LOOKED_MAX = 2_000  # of the last hour that are looked at together, to count them
ENDINGS_OF_A_MINUTE_MAX = 200  # of a minute, if those are too many; from these the rest of it is estimated
JSON_SHOWN_BYTES_MAX = 64 * 1024  # of a payload on a page; the rest is one click away
COPIED_BYTES_MAX = 1024 * 1024  # of a run that is copied as a test or a command
DIFF_BYTES_MAX = 512 * 1024  # of each of two texts that are compared for a page
DIFF_LINES_MAX = 2_000  # of each, and of what is shown
FLOW_NODES_MAX = 60  # runs and events that one event led to: each is read
GRAPH_NODES_MAX = 300  # steps of a run that are drawn: of more a picture says nothing

# Users, and what they did (ADR 0048).
SESSION_LIFE = timedelta(hours=12)  # from a login to the next
SESSIONS_PER_USER_MAX = 50  # the oldest end
SESSION_CHECKED = timedelta(seconds=2)  # how long after a session has ended elsewhere it may still be of use
SESSION_SEEN = timedelta(minutes=1)  # how exactly it is known when a session was used last
LOGIN_FAILURES_MAX = 10  # of one name in a minute
LOGIN_FAILURES_OF_ALL_MAX = 60  # of all who try, in a minute
SETUP_LIFE = timedelta(hours=24)  # of the link with which the first admin is made
USERS_MAX = 1_000
USER_NAME_CHARS_MAX = 100
PASSWORD_CHARS_MIN, PASSWORD_CHARS_MAX = 12, 256
AUDIT_KEPT = timedelta(days=365)  # or for as long as runs are, if that is longer
AUDIT_DETAIL_CHARS_MAX = 1_000
