-- One number that grows with every change of what collections and decisions go by, whoever makes it and in whichever process.
CREATE TABLE fleet_revision (
    id BIGINT PRIMARY KEY NOT NULL,
    revision BIGINT NOT NULL
);
INSERT INTO fleet_revision (id, revision) VALUES (1, 1);

-- Processes that collect: the last tick that each began, and the last of which it read all of its share.
CREATE TABLE collectors (
    id BIGSERIAL PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    begun_ms BIGINT NOT NULL,
    finished_ms BIGINT
);

-- Among whom a tick's nodes are shared out (JSON): written once, by whoever begins the tick first, and never changed.
CREATE TABLE collections (
    tick_ms BIGINT PRIMARY KEY NOT NULL,
    members TEXT NOT NULL
);

-- Before a statement, so that the number's lock is taken before those of rows and two writers cannot wait for each other; once in a
-- transaction, since each further update of the same row would walk over all those before it.
CREATE FUNCTION fleet_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('headroom.fleet_changed', true) IS DISTINCT FROM txid_current()::text THEN
        UPDATE fleet_revision SET revision = revision + 1;
        PERFORM set_config('headroom.fleet_changed', txid_current()::text, true);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER fleet_changes BEFORE INSERT OR UPDATE OR DELETE ON ssh_profiles EXECUTE FUNCTION fleet_changes();
CREATE TRIGGER fleet_changes BEFORE INSERT OR UPDATE OR DELETE ON jvm_profiles EXECUTE FUNCTION fleet_changes();
CREATE TRIGGER fleet_changes BEFORE INSERT OR UPDATE OR DELETE ON secrets EXECUTE FUNCTION fleet_changes();
CREATE TRIGGER fleet_changes BEFORE INSERT OR UPDATE OR DELETE ON clusters EXECUTE FUNCTION fleet_changes();
CREATE TRIGGER fleet_changes BEFORE INSERT OR UPDATE OR DELETE ON nodes EXECUTE FUNCTION fleet_changes();
CREATE TRIGGER fleet_changes BEFORE INSERT OR UPDATE OR DELETE ON node_jvm_profiles EXECUTE FUNCTION fleet_changes();
CREATE TRIGGER fleet_changes BEFORE INSERT OR UPDATE OR DELETE ON counters EXECUTE FUNCTION fleet_changes();
CREATE TRIGGER fleet_changes BEFORE INSERT OR UPDATE OR DELETE ON trigger_counters EXECUTE FUNCTION fleet_changes();
CREATE TRIGGER fleet_changes BEFORE INSERT OR UPDATE OR DELETE ON steps EXECUTE FUNCTION fleet_changes();
CREATE TRIGGER fleet_changes BEFORE INSERT OR UPDATE OR DELETE ON actions EXECUTE FUNCTION fleet_changes();
-- Not its last firing: that is no definition.
CREATE TRIGGER fleet_changes BEFORE INSERT OR DELETE OR UPDATE OF name, cluster_id, timing_secs, when_rule, when_percent, cooldown_secs, quorum_percent, mode, enabled, on_failure
    ON triggers EXECUTE FUNCTION fleet_changes();
