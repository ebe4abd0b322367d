-- Times are milliseconds since 1970 UTC (`*_ms`), durations seconds (`*_secs`); lists and settings are JSON text.
-- Foreign keys refuse a deletion while something uses the row; what belongs to a row goes with it.

CREATE TABLE secrets (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    key_id TEXT NOT NULL,
    nonce BYTEA NOT NULL,
    ciphertext BYTEA NOT NULL,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE ssh_profiles (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    login TEXT NOT NULL,
    port INTEGER NOT NULL,
    private_key_file TEXT,
    private_key_secret BIGINT REFERENCES secrets (id),
    passphrase_env TEXT,
    passphrase_secret BIGINT REFERENCES secrets (id),
    agent BOOLEAN NOT NULL,
    certificate_file TEXT,
    proxy_jump TEXT,
    connect_timeout_secs BIGINT,
    host_keys TEXT NOT NULL,
    known_hosts_file TEXT,
    known_hosts TEXT,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE jvm_profiles (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    port INTEGER,
    url TEXT,
    transport TEXT NOT NULL,
    path TEXT,
    login TEXT,
    password_env TEXT,
    password_secret BIGINT REFERENCES secrets (id),
    tls BOOLEAN NOT NULL,
    ca_file TEXT,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE ec2_profiles (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    region TEXT NOT NULL,
    image_id TEXT NOT NULL,
    instance_type TEXT NOT NULL,
    key_name TEXT,
    security_groups TEXT NOT NULL,
    subnet_id TEXT,
    user_data TEXT,
    load_balancer TEXT,
    target_group_arn TEXT,
    endpoint_url TEXT,
    address_from TEXT NOT NULL,
    wait_for TEXT NOT NULL,
    access_key_id TEXT,
    secret_access_key_secret BIGINT REFERENCES secrets (id),
    role_arn TEXT,
    external_id TEXT,
    updated_ms BIGINT NOT NULL,
    -- When the access key was changed last: EC2 may have been asked as another account since.
    access_changed_ms BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE clusters (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    min_nodes INTEGER NOT NULL,
    max_nodes INTEGER,
    max_failed_launches INTEGER NOT NULL,
    breaker_cooldown_secs BIGINT NOT NULL,
    max_launches_per_hour INTEGER,
    updated_ms BIGINT NOT NULL
);

-- What keeps a cluster from launching after launches that gave no node; no row = it never had one.
CREATE TABLE breakers (
    cluster_id BIGINT PRIMARY KEY NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    failures INTEGER NOT NULL,
    reason TEXT NOT NULL,
    opened_ms BIGINT,
    canary_run_id BIGINT,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE nodes (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    cluster_id BIGINT NOT NULL REFERENCES clusters (id),
    address TEXT NOT NULL,
    ssh_profile_id BIGINT REFERENCES ssh_profiles (id),
    ec2_profile_id BIGINT REFERENCES ec2_profiles (id),
    instance_id TEXT,
    state TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE INDEX nodes_by_cluster ON nodes (cluster_id);

CREATE TABLE node_jvm_profiles (
    node_id BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    jvm_profile_id BIGINT NOT NULL REFERENCES jvm_profiles (id),
    position INTEGER NOT NULL,
    PRIMARY KEY (node_id, jvm_profile_id)
);

-- Which step of a run launches or removes a node: its token, which the instance carries too. Outlives the step, so that a crash after it is understood.
CREATE TABLE node_claims (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    token TEXT NOT NULL UNIQUE,
    node_id BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE
);
CREATE INDEX node_claims_by_node ON node_claims (node_id);

-- Which step scaled a service last. While that step is under way, no other one scales it.
CREATE TABLE service_claims (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    service TEXT NOT NULL UNIQUE,
    token TEXT NOT NULL
);

-- Launched nodes that are gone, and which step took them away.
CREATE TABLE former_nodes (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    cluster_name TEXT NOT NULL,
    address TEXT NOT NULL,
    instance_id TEXT,
    token TEXT,
    reason TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    gone_ms BIGINT NOT NULL
);
CREATE INDEX former_nodes_by_token ON former_nodes (token);
CREATE INDEX former_nodes_by_cluster ON former_nodes (cluster_name, id);

-- Tells this Headroom's instances from those of another one in the same account; one row.
CREATE TABLE installation (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    tag TEXT NOT NULL
);

-- Where EC2 and the nodes disagree, as the last look found it.
CREATE TABLE findings (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    ec2_profile_id BIGINT NOT NULL REFERENCES ec2_profiles (id) ON DELETE CASCADE,
    cluster_name TEXT NOT NULL,
    node_name TEXT,
    instance_id TEXT,
    detail TEXT NOT NULL,
    first_seen_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL
);

CREATE TABLE counters (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    settings TEXT NOT NULL,
    comparison TEXT NOT NULL,
    threshold DOUBLE PRECISION NOT NULL,
    unit TEXT,
    every_secs BIGINT,
    timeout_secs BIGINT NOT NULL,
    missing TEXT NOT NULL,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE actions (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    settings TEXT NOT NULL,
    timeout_secs BIGINT,
    retries INTEGER,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE triggers (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    cluster_id BIGINT NOT NULL REFERENCES clusters (id),
    timing_secs BIGINT,
    when_rule TEXT NOT NULL,
    when_percent INTEGER,
    cooldown_secs BIGINT NOT NULL,
    quorum_percent INTEGER NOT NULL,
    mode TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    on_failure TEXT,
    last_fired_ms BIGINT,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE trigger_counters (
    trigger_id BIGINT NOT NULL REFERENCES triggers (id) ON DELETE CASCADE,
    counter_id BIGINT NOT NULL REFERENCES counters (id),
    position INTEGER NOT NULL,
    PRIMARY KEY (trigger_id, counter_id)
);

CREATE TABLE steps (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    trigger_id BIGINT NOT NULL REFERENCES triggers (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    action_id BIGINT NOT NULL REFERENCES actions (id),
    target TEXT NOT NULL,
    depends_on TEXT,
    approval_secs BIGINT,
    UNIQUE (trigger_id, position),
    UNIQUE (trigger_id, name)
);

-- A run keeps the names and frozen settings it started with, so that it outlives its trigger.
CREATE TABLE runs (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    trigger_id BIGINT REFERENCES triggers (id) ON DELETE SET NULL,
    trigger_name TEXT,
    cluster_id BIGINT REFERENCES clusters (id) ON DELETE SET NULL,
    cluster_name TEXT,
    origin TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    state TEXT NOT NULL,
    on_failure TEXT NOT NULL,
    changes_capacity BOOLEAN NOT NULL,
    claimed_by TEXT,
    claimed_until_ms BIGINT,
    cancel_requested_by TEXT,
    created_ms BIGINT NOT NULL,
    started_ms BIGINT,
    finished_ms BIGINT,
    -- Whether its launches count for the breaker of its cluster; null until it is over for the first time.
    launch_counted BOOLEAN
);
CREATE INDEX runs_by_state ON runs (state);
CREATE INDEX runs_by_trigger ON runs (trigger_id, id);
CREATE INDEX runs_by_cluster ON runs (cluster_id, id);

-- The journal: a row is written before its effect (started, with its token) and after it (outcome, output).
CREATE TABLE step_runs (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    run_id BIGINT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    action_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    settings TEXT NOT NULL,
    target TEXT NOT NULL,
    target_name TEXT,
    depends_on TEXT NOT NULL,
    timeout_secs BIGINT NOT NULL,
    state TEXT NOT NULL,
    token TEXT,
    attempt INTEGER NOT NULL,
    outputs TEXT NOT NULL,
    report TEXT NOT NULL,
    error TEXT,
    started_ms BIGINT,
    finished_ms BIGINT,
    retry_at_ms BIGINT,
    attempts TEXT NOT NULL DEFAULT '[]',
    retries INTEGER,
    undo_attempt INTEGER NOT NULL DEFAULT 0,
    undo_started_ms BIGINT,
    approval_secs BIGINT,
    approval_until_ms BIGINT,
    approved_by TEXT,
    UNIQUE (run_id, position)
);

CREATE INDEX step_runs_by_start ON step_runs (started_ms);
CREATE INDEX step_runs_by_token ON step_runs (token);

CREATE TABLE run_events (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    run_id BIGINT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step_run_id BIGINT,
    at_ms BIGINT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX run_events_by_run ON run_events (run_id, id);

CREATE TABLE decisions (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    trigger_id BIGINT NOT NULL REFERENCES triggers (id) ON DELETE CASCADE,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    detail TEXT NOT NULL,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    count BIGINT NOT NULL,
    run_id BIGINT REFERENCES runs (id) ON DELETE SET NULL
);
CREATE INDEX decisions_by_trigger ON decisions (trigger_id, id);
CREATE INDEX decisions_by_last ON decisions (last_ms);

CREATE TABLE holds (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    scope TEXT NOT NULL,
    scope_name TEXT,
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    lifted_ms BIGINT,
    lifted_by TEXT
);

CREATE TABLE users (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE sessions (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    token_hash TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    last_used_ms BIGINT
);

CREATE TABLE audit_events (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    via TEXT NOT NULL,
    verb TEXT NOT NULL,
    object TEXT NOT NULL,
    before TEXT,
    after TEXT
);

CREATE TABLE host_keys (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    address TEXT NOT NULL,
    port INTEGER NOT NULL,
    through TEXT NOT NULL,
    state TEXT NOT NULL,
    key_type TEXT NOT NULL,
    key_base64 TEXT NOT NULL,
    seen_ms BIGINT NOT NULL,
    accepted_by TEXT,
    UNIQUE (address, port, through, state)
);

-- The last outcome of every periodic task and the processes that run them, for the tasks page and for operators.
CREATE TABLE tasks (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    started_ms BIGINT,
    finished_ms BIGINT,
    succeeded BOOLEAN,
    result TEXT NOT NULL,
    skipped BIGINT NOT NULL
);

CREATE TABLE workers (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    roles TEXT NOT NULL,
    version TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL
);
