//! *Machine room*: processes, batches and pools, PostgreSQL, RabbitMQ.

use crate::board::Board;
use crate::panel::Panel;

/// Ours among the scraped processes.
const OURS: &str = r#"{job=~"api|worker|gateway-mock|standalone"}"#;

pub(crate) fn board() -> Board {
    Board {
        file: "machine-room",
        title: "Comanda: machine room",
        description: "Processes, batches and pools, PostgreSQL, RabbitMQ.",
        rows: vec![
            ("processes", processes()),
            ("batches and queues inside", batches()),
            ("PostgreSQL", postgres()),
            ("RabbitMQ", rabbitmq()),
        ],
    }
}

fn processes() -> Vec<Panel> {
    vec![
        Panel::states(
            "Up",
            "Whether Prometheus reaches each process. Runbook: ProgramDown.",
            &[(0, "down", "red"), (1, "up", "green")],
        )
        .ask("up", "{{job}} {{instance}}"),
        Panel::lines("CPU", "percentunit", "Of one core; over 100 % means more than one.")
            .ask(format!("rate(process_cpu_seconds_total{OURS}[$__rate_interval])"), "{{job}} {{instance}}")
            .stacked(),
        Panel::lines("Memory", "bytes", "Resident memory of each process.")
            .ask(format!("process_resident_memory_bytes{OURS}"), "{{job}} {{instance}}"),
        Panel::lines("Open files", "percentunit", "Share of the limit; each connection is one.")
            .ask(format!("process_open_fds{OURS} / process_max_fds{OURS}"), "{{job}} {{instance}}")
            .limits(0.6, 0.9),
        Panel::lines(
            "Threads",
            "short",
            "Threads of each process; the client of RabbitMQ takes one a connection.",
        )
        .ask(format!("process_threads{OURS}"), "{{job}} {{instance}}"),
        Panel::lines("Running for", "s", "Since each process's start: a saw-tooth is a crash loop.")
            .ask(format!("time() - process_start_time_seconds{OURS}"), "{{job}} {{instance}}"),
        Panel::lines(
            "Spans of traces",
            "ops",
            "Sent, not taken by the collector, and dropped because there were more than can be sent; all 0 while traces are off.",
        )
        .ask("sum by (outcome) (rate(trace_spans_total[$__rate_interval]))", "{{outcome}}"),
    ]
}

fn batches() -> Vec<Panel> {
    let mean = |metric: &str| {
        format!(
            "sum(rate({metric}_batch_size_sum[$__rate_interval])) / sum(rate({metric}_batch_size_count[$__rate_interval]))"
        )
    };
    let commit = |verb: &str| {
        format!(
            "histogram_quantile(0.99, sum by (le) (rate({verb}_commit_seconds_bucket[$__rate_interval])))"
        )
    };
    vec![
        Panel::lines(
            "Mean batch",
            "short",
            "Orders or payments in one statement or message: near 1 at low load, grows with it.",
        )
        .ask(mean("accept"), "accept")
        .ask(mean("publish"), "publish")
        .ask(mean("claim"), "claim")
        .ask(mean("settle"), "settle"),
        Panel::lines(
            "Commits, 99 % within",
            "s",
            "The statements that move orders, the wait for the disk included.",
        )
        .ask(commit("accept"), "accept")
        .ask(commit("claim"), "claim")
        .ask(commit("settle"), "settle")
        .limits(0.1, 1.0),
        Panel::lines("Commits", "ops", "Statements that move orders: a batch each.")
            .ask("sum(rate(accept_commit_seconds_count[$__rate_interval]))", "accept")
            .ask("sum(rate(claim_commit_seconds_count[$__rate_interval]))", "claim")
            .ask("sum(rate(settle_commit_seconds_count[$__rate_interval]))", "settle"),
        Panel::lines(
            "Waiting",
            "short",
            "Inside each process: orders for a writer, batches for the publisher.",
        )
        .ask("accept_waiting_orders", "{{instance}} orders")
        .ask("publish_waiting_batches", "{{instance}} batches"),
        Panel::lines("Connections for reads", "short", "Of each api's pool (API_READERS).")
            .ask("read_connections", "{{instance}} {{state}}"),
        Panel::lines(
            "Replica behind",
            "s",
            "How far DATABASE_READ_URL is behind; past API_REPLICA_LAG_SECONDS the primary is read instead. 0: there is none.",
        )
        .ask("read_replica_behind_seconds", "{{instance}}"),
        Panel::lines(
            "In hand",
            "short",
            "Payments claimed and not settled yet, by worker (WORKER_CONCURRENCY).",
        )
        .ask("claim_in_hand_payments", "{{instance}} by {{by}}"),
        Panel::lines(
            "Who asks",
            "ops",
            "Looks at the keys of issuers, sessions that were ended because an old refresh token came again, and who asks too fast.",
        )
        .ask("sum by (outcome) (rate(identity_key_looks_total[$__rate_interval]))", "keys, {{outcome}}")
        .ask("sum(rate(identity_stolen_sessions_total[$__rate_interval]))", "stolen sessions")
        .ask("sum by (limit) (rate(identity_too_fast_total[$__rate_interval]))", "too fast, {{limit}}"),
    ]
}

fn postgres() -> Vec<Panel> {
    let rate = |metric: &str| format!("sum(rate(pg_stat_database_{metric}[$__rate_interval]))");
    vec![
        Panel::lines("Connections", "short", "By state, and the limit. Runbook: DatabaseConnectionsRunOut.")
            .ask("sum by (state) (pg_stat_activity_count) > 0", "{{state}}")
            .ask("max(pg_settings_max_connections)", "limit"),
        Panel::lines("Transactions", "ops", "Commits and rollbacks of the whole server.")
            .ask(rate("xact_commit"), "committed")
            .ask(rate("xact_rollback"), "rolled back"),
        Panel::lines("Rows", "ops", "Written and read by index or scan, of the whole server.")
            .ask(rate("tup_inserted"), "inserted")
            .ask(rate("tup_updated"), "updated")
            .ask(rate("tup_fetched"), "read"),
        Panel::lines("Found in memory", "percentunit", "Share of pages that were in PostgreSQL's own cache.")
            .ask(format!("{} / ({} + {})", rate("blks_hit"), rate("blks_hit"), rate("blks_read")), "found")
            .at_least(0.9),
        Panel::lines("Size", "bytes", "Of each database on disk.")
            .ask("pg_database_size_bytes", "{{datname}}"),
        Panel::lines("Locks", "short", "Held and awaited, by mode.")
            .ask("sum by (mode) (pg_locks_count) > 0", "{{mode}}"),
    ]
}

fn rabbitmq() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Messages",
            "short",
            "In each queue: to be delivered, and delivered but not acknowledged.",
        )
        .ask("rabbitmq_detailed_queue_messages_ready", "{{queue}} waiting")
        .ask("rabbitmq_detailed_queue_messages_unacked", "{{queue}} in hand"),
        Panel::lines(
            "Rates",
            "ops",
            "Messages published, delivered and acknowledged; a message names up to 256 payments.",
        )
        .ask("sum(rate(rabbitmq_global_messages_received_total[$__rate_interval]))", "published")
        .ask("sum(rate(rabbitmq_global_messages_confirmed_total[$__rate_interval]))", "confirmed")
        .ask("sum(rate(rabbitmq_global_messages_acknowledged_total[$__rate_interval]))", "acknowledged"),
        Panel::lines("Connections", "short", "An api has one to publish, a worker one to consume.")
            .ask("sum(rabbitmq_connections)", "connections")
            .ask("sum(rabbitmq_channels)", "channels")
            .ask("sum(rabbitmq_consumers)", "consumers"),
        Panel::lines("Memory", "bytes", "Used, and the limit at which every publisher is stopped.")
            .ask("sum(rabbitmq_process_resident_memory_bytes)", "used")
            .ask("sum(rabbitmq_resident_memory_limit_bytes)", "limit"),
        Panel::lines("Disk", "bytes", "Free, and the limit at which every publisher is stopped.")
            .ask("min(rabbitmq_disk_space_available_bytes)", "free")
            .ask("max(rabbitmq_disk_space_available_limit_bytes)", "limit"),
        Panel::lines("Redelivered", "ops", "Messages that came again because their worker went away.")
            .ask("sum(rate(rabbitmq_global_messages_redelivered_total[$__rate_interval]))", "redelivered"),
    ]
}
