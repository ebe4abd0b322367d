-- One number that grows with every change of what collections and decisions go by, whoever makes it and in whichever process.
CREATE TABLE fleet_revision (
    id INTEGER PRIMARY KEY NOT NULL,
    revision BIGINT NOT NULL
);
INSERT INTO fleet_revision (id, revision) VALUES (1, 1);

-- Processes that collect: the last tick that each began, and the last of which it read all of its share.
CREATE TABLE collectors (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    name TEXT NOT NULL UNIQUE,
    begun_ms BIGINT NOT NULL,
    finished_ms BIGINT
);

-- Among whom a tick's nodes are shared out (JSON): written once, by whoever begins the tick first, and never changed.
CREATE TABLE collections (
    tick_ms BIGINT PRIMARY KEY NOT NULL,
    members TEXT NOT NULL
);

CREATE TRIGGER ssh_profiles_insert AFTER INSERT ON ssh_profiles BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER ssh_profiles_update AFTER UPDATE ON ssh_profiles BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER ssh_profiles_delete AFTER DELETE ON ssh_profiles BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER jvm_profiles_insert AFTER INSERT ON jvm_profiles BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER jvm_profiles_update AFTER UPDATE ON jvm_profiles BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER jvm_profiles_delete AFTER DELETE ON jvm_profiles BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER secrets_insert AFTER INSERT ON secrets BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER secrets_update AFTER UPDATE ON secrets BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER secrets_delete AFTER DELETE ON secrets BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER clusters_insert AFTER INSERT ON clusters BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER clusters_update AFTER UPDATE ON clusters BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER clusters_delete AFTER DELETE ON clusters BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER nodes_insert AFTER INSERT ON nodes BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER nodes_update AFTER UPDATE ON nodes BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER nodes_delete AFTER DELETE ON nodes BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER node_jvm_profiles_insert AFTER INSERT ON node_jvm_profiles BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER node_jvm_profiles_update AFTER UPDATE ON node_jvm_profiles BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER node_jvm_profiles_delete AFTER DELETE ON node_jvm_profiles BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER counters_insert AFTER INSERT ON counters BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER counters_update AFTER UPDATE ON counters BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER counters_delete AFTER DELETE ON counters BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER trigger_counters_insert AFTER INSERT ON trigger_counters BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER trigger_counters_update AFTER UPDATE ON trigger_counters BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER trigger_counters_delete AFTER DELETE ON trigger_counters BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER steps_insert AFTER INSERT ON steps BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER steps_update AFTER UPDATE ON steps BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER steps_delete AFTER DELETE ON steps BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER actions_insert AFTER INSERT ON actions BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER actions_update AFTER UPDATE ON actions BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER actions_delete AFTER DELETE ON actions BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER triggers_insert AFTER INSERT ON triggers BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
-- Not its last firing: that is no definition.
CREATE TRIGGER triggers_update AFTER UPDATE OF name, cluster_id, timing_secs, when_rule, when_percent, cooldown_secs, quorum_percent, mode, enabled, on_failure ON triggers BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
CREATE TRIGGER triggers_delete AFTER DELETE ON triggers BEGIN UPDATE fleet_revision SET revision = revision + 1; END;
