// Generated from migrations/; never edited. `make schema` writes it again.

diesel::table! {
    secrets (id) {
        id -> BigInt,
        name -> Text,
        key_id -> Text,
        nonce -> Binary,
        ciphertext -> Binary,
        updated_ms -> BigInt,
    }
}

diesel::table! {
    ssh_profiles (id) {
        id -> BigInt,
        name -> Text,
        login -> Text,
        port -> Integer,
        private_key_file -> Nullable<Text>,
        private_key_secret -> Nullable<BigInt>,
        passphrase_env -> Nullable<Text>,
        passphrase_secret -> Nullable<BigInt>,
        agent -> Bool,
        certificate_file -> Nullable<Text>,
        proxy_jump -> Nullable<Text>,
        connect_timeout_secs -> Nullable<BigInt>,
        host_keys -> Text,
        known_hosts_file -> Nullable<Text>,
        known_hosts -> Nullable<Text>,
        updated_ms -> BigInt,
    }
}

diesel::table! {
    jvm_profiles (id) {
        id -> BigInt,
        name -> Text,
        port -> Nullable<Integer>,
        url -> Nullable<Text>,
        transport -> Text,
        path -> Nullable<Text>,
        login -> Nullable<Text>,
        password_env -> Nullable<Text>,
        password_secret -> Nullable<BigInt>,
        tls -> Bool,
        ca_file -> Nullable<Text>,
        updated_ms -> BigInt,
    }
}

diesel::table! {
    ec2_profiles (id) {
        id -> BigInt,
        name -> Text,
        region -> Text,
        image_id -> Text,
        instance_type -> Text,
        key_name -> Nullable<Text>,
        security_groups -> Text,
        subnet_id -> Nullable<Text>,
        user_data -> Nullable<Text>,
        load_balancer -> Nullable<Text>,
        target_group_arn -> Nullable<Text>,
        endpoint_url -> Nullable<Text>,
        address_from -> Text,
        wait_for -> Text,
        access_key_id -> Nullable<Text>,
        secret_access_key_secret -> Nullable<BigInt>,
        role_arn -> Nullable<Text>,
        external_id -> Nullable<Text>,
        updated_ms -> BigInt,
        access_changed_ms -> BigInt,
    }
}

diesel::table! {
    breakers (cluster_id) {
        cluster_id -> BigInt,
        state -> Text,
        failures -> Integer,
        reason -> Text,
        opened_ms -> Nullable<BigInt>,
        canary_run_id -> Nullable<BigInt>,
        updated_ms -> BigInt,
    }
}

diesel::table! {
    clusters (id) {
        id -> BigInt,
        name -> Text,
        min_nodes -> Integer,
        max_nodes -> Nullable<Integer>,
        max_failed_launches -> Integer,
        breaker_cooldown_secs -> BigInt,
        max_launches_per_hour -> Nullable<Integer>,
        updated_ms -> BigInt,
    }
}

diesel::table! {
    nodes (id) {
        id -> BigInt,
        name -> Text,
        cluster_id -> BigInt,
        address -> Text,
        ssh_profile_id -> Nullable<BigInt>,
        ec2_profile_id -> Nullable<BigInt>,
        instance_id -> Nullable<Text>,
        state -> Text,
        created_ms -> BigInt,
        updated_ms -> BigInt,
    }
}

diesel::table! {
    node_jvm_profiles (node_id, jvm_profile_id) {
        node_id -> BigInt,
        jvm_profile_id -> BigInt,
        position -> Integer,
    }
}

diesel::table! {
    collections (tick_ms) {
        tick_ms -> BigInt,
        members -> Text,
    }
}

diesel::table! {
    node_claims (id) {
        id -> BigInt,
        token -> Text,
        node_id -> BigInt,
    }
}

diesel::table! {
    service_claims (id) {
        id -> BigInt,
        service -> Text,
        token -> Text,
    }
}

diesel::table! {
    collectors (id) {
        id -> BigInt,
        name -> Text,
        begun_ms -> BigInt,
        finished_ms -> Nullable<BigInt>,
    }
}

diesel::table! {
    former_nodes (id) {
        id -> BigInt,
        name -> Text,
        cluster_name -> Text,
        address -> Text,
        instance_id -> Nullable<Text>,
        token -> Nullable<Text>,
        reason -> Text,
        created_ms -> BigInt,
        gone_ms -> BigInt,
    }
}

diesel::table! {
    installation (id) {
        id -> BigInt,
        tag -> Text,
    }
}

diesel::table! {
    findings (id) {
        id -> BigInt,
        kind -> Text,
        ec2_profile_id -> BigInt,
        cluster_name -> Text,
        node_name -> Nullable<Text>,
        instance_id -> Nullable<Text>,
        detail -> Text,
        first_seen_ms -> BigInt,
        seen_ms -> BigInt,
    }
}

diesel::table! {
    counters (id) {
        id -> BigInt,
        name -> Text,
        kind -> Text,
        settings -> Text,
        comparison -> Text,
        threshold -> Double,
        unit -> Nullable<Text>,
        every_secs -> Nullable<BigInt>,
        timeout_secs -> BigInt,
        missing -> Text,
        updated_ms -> BigInt,
    }
}

diesel::table! {
    actions (id) {
        id -> BigInt,
        name -> Text,
        kind -> Text,
        settings -> Text,
        timeout_secs -> Nullable<BigInt>,
        retries -> Nullable<Integer>,
        updated_ms -> BigInt,
    }
}

diesel::table! {
    triggers (id) {
        id -> BigInt,
        name -> Text,
        cluster_id -> BigInt,
        timing_secs -> Nullable<BigInt>,
        when_rule -> Text,
        when_percent -> Nullable<Integer>,
        cooldown_secs -> BigInt,
        quorum_percent -> Integer,
        mode -> Text,
        enabled -> Bool,
        on_failure -> Nullable<Text>,
        last_fired_ms -> Nullable<BigInt>,
        updated_ms -> BigInt,
    }
}

diesel::table! {
    trigger_counters (trigger_id, counter_id) {
        trigger_id -> BigInt,
        counter_id -> BigInt,
        position -> Integer,
    }
}

diesel::table! {
    steps (id) {
        id -> BigInt,
        trigger_id -> BigInt,
        position -> Integer,
        name -> Text,
        action_id -> BigInt,
        target -> Text,
        depends_on -> Nullable<Text>,
        approval_secs -> Nullable<BigInt>,
    }
}

diesel::table! {
    runs (id) {
        id -> BigInt,
        trigger_id -> Nullable<BigInt>,
        trigger_name -> Nullable<Text>,
        cluster_id -> Nullable<BigInt>,
        cluster_name -> Nullable<Text>,
        origin -> Text,
        requested_by -> Text,
        reason -> Text,
        state -> Text,
        on_failure -> Text,
        changes_capacity -> Bool,
        claimed_by -> Nullable<Text>,
        claimed_until_ms -> Nullable<BigInt>,
        cancel_requested_by -> Nullable<Text>,
        created_ms -> BigInt,
        started_ms -> Nullable<BigInt>,
        finished_ms -> Nullable<BigInt>,
        launch_counted -> Nullable<Bool>,
    }
}

diesel::table! {
    step_runs (id) {
        id -> BigInt,
        run_id -> BigInt,
        position -> Integer,
        name -> Text,
        action_name -> Text,
        kind -> Text,
        settings -> Text,
        target -> Text,
        target_name -> Nullable<Text>,
        depends_on -> Text,
        timeout_secs -> BigInt,
        state -> Text,
        token -> Nullable<Text>,
        attempt -> Integer,
        outputs -> Text,
        report -> Text,
        error -> Nullable<Text>,
        started_ms -> Nullable<BigInt>,
        finished_ms -> Nullable<BigInt>,
        retry_at_ms -> Nullable<BigInt>,
        attempts -> Text,
        retries -> Nullable<Integer>,
        undo_attempt -> Integer,
        undo_started_ms -> Nullable<BigInt>,
        approval_secs -> Nullable<BigInt>,
        approval_until_ms -> Nullable<BigInt>,
        approved_by -> Nullable<Text>,
    }
}

diesel::table! {
    run_events (id) {
        id -> BigInt,
        run_id -> BigInt,
        step_run_id -> Nullable<BigInt>,
        at_ms -> BigInt,
        message -> Text,
    }
}

diesel::table! {
    decisions (id) {
        id -> BigInt,
        trigger_id -> BigInt,
        outcome -> Text,
        reason -> Text,
        fingerprint -> Text,
        detail -> Text,
        first_ms -> BigInt,
        last_ms -> BigInt,
        count -> BigInt,
        run_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    fleet_revision (id) {
        id -> BigInt,
        revision -> BigInt,
    }
}

diesel::table! {
    holds (id) {
        id -> BigInt,
        scope -> Text,
        scope_name -> Nullable<Text>,
        reason -> Text,
        author -> Text,
        created_ms -> BigInt,
        expires_ms -> BigInt,
        lifted_ms -> Nullable<BigInt>,
        lifted_by -> Nullable<Text>,
    }
}

diesel::table! {
    users (id) {
        id -> BigInt,
        name -> Text,
        password_hash -> Text,
        role -> Text,
        created_ms -> BigInt,
        updated_ms -> BigInt,
    }
}

diesel::table! {
    sessions (id) {
        id -> BigInt,
        token_hash -> Text,
        user_id -> BigInt,
        created_ms -> BigInt,
        expires_ms -> BigInt,
    }
}

diesel::table! {
    api_tokens (id) {
        id -> BigInt,
        name -> Text,
        token_hash -> Text,
        role -> Text,
        created_by -> Text,
        created_ms -> BigInt,
        expires_ms -> Nullable<BigInt>,
        last_used_ms -> Nullable<BigInt>,
    }
}

diesel::table! {
    audit_events (id) {
        id -> BigInt,
        at_ms -> BigInt,
        actor -> Text,
        via -> Text,
        verb -> Text,
        object -> Text,
        before -> Nullable<Text>,
        after -> Nullable<Text>,
    }
}

diesel::table! {
    host_keys (id) {
        id -> BigInt,
        address -> Text,
        port -> Integer,
        through -> Text,
        state -> Text,
        key_type -> Text,
        key_base64 -> Text,
        seen_ms -> BigInt,
        accepted_by -> Nullable<Text>,
    }
}

diesel::table! {
    tasks (id) {
        id -> BigInt,
        name -> Text,
        started_ms -> Nullable<BigInt>,
        finished_ms -> Nullable<BigInt>,
        succeeded -> Nullable<Bool>,
        result -> Text,
        skipped -> BigInt,
    }
}

diesel::table! {
    workers (id) {
        id -> BigInt,
        name -> Text,
        roles -> Text,
        version -> Text,
        started_ms -> BigInt,
        seen_ms -> BigInt,
    }
}

diesel::joinable!(nodes -> clusters (cluster_id));
diesel::joinable!(nodes -> ssh_profiles (ssh_profile_id));
diesel::joinable!(nodes -> ec2_profiles (ec2_profile_id));
diesel::joinable!(node_jvm_profiles -> nodes (node_id));
diesel::joinable!(node_jvm_profiles -> jvm_profiles (jvm_profile_id));
diesel::joinable!(node_claims -> nodes (node_id));
diesel::joinable!(findings -> ec2_profiles (ec2_profile_id));
diesel::joinable!(triggers -> clusters (cluster_id));
diesel::joinable!(trigger_counters -> triggers (trigger_id));
diesel::joinable!(trigger_counters -> counters (counter_id));
diesel::joinable!(steps -> triggers (trigger_id));
diesel::joinable!(steps -> actions (action_id));
diesel::joinable!(runs -> triggers (trigger_id));
diesel::joinable!(runs -> clusters (cluster_id));
diesel::joinable!(step_runs -> runs (run_id));
diesel::joinable!(run_events -> runs (run_id));
diesel::joinable!(decisions -> triggers (trigger_id));
diesel::joinable!(decisions -> runs (run_id));
diesel::joinable!(sessions -> users (user_id));

diesel::allow_tables_to_appear_in_same_query!(
    actions,
    api_tokens,
    audit_events,
    breakers,
    clusters,
    collections,
    collectors,
    counters,
    decisions,
    ec2_profiles,
    findings,
    fleet_revision,
    former_nodes,
    holds,
    host_keys,
    installation,
    jvm_profiles,
    node_claims,
    node_jvm_profiles,
    nodes,
    run_events,
    runs,
    secrets,
    sessions,
    ssh_profiles,
    step_runs,
    steps,
    tasks,
    trigger_counters,
    triggers,
    users,
    workers,
);
