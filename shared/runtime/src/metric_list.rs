//! Every metric of every process. Help texts, `docs/metrics.md` and the test of a scrape are made from this list; a
//! metric that is not in it fails that test. The first word of a name is the verb that it is about.

use metrics::Unit;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the process's start.
    Counter,
    /// A value now.
    Gauge,
    /// Counts by size, in buckets.
    Histogram,
}

/// A label, and the values that it takes; of where they come from, where there is no list of them.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub values: Values,
}

/// What a label may be.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// One of these.
    Of(&'static [&'static str]),
    /// Bounded all the same, by this.
    By(&'static str),
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name on `/metrics`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Of its values.
    pub unit: Unit,
    /// Its labels.
    pub labels: &'static [Label],
    /// Which programs have it.
    pub programs: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const API: &[&str] = &["api"];
const WORKER: &[&str] = &["worker"];
const GATEWAY: &[&str] = &["gateway-mock"];
const ORDERS: &[&str] = &["api", "worker"];
const FOLLOWER: &[&str] = &["follower"];
const EVERY: &[&str] = &["api", "worker", "follower", "gateway-mock"];
const FOLLOWERS: Label = of("follower", &["webhooks", "messages", "mail", "roll_up"]);

const fn counter(
    name: &'static str,
    labels: &'static [Label],
    programs: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, labels, programs, help }
}

const fn gauge(
    name: &'static str,
    labels: &'static [Label],
    programs: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: Unit::Count, labels, programs, help }
}

const fn seconds(name: &'static str, programs: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, unit: Unit::Seconds, labels: &[], programs, help }
}

const fn sizes(name: &'static str, programs: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, unit: Unit::Count, labels: &[], programs, help }
}

const fn in_seconds(metric: Metric) -> Metric {
    Metric { unit: Unit::Seconds, ..metric }
}

const fn in_bytes(metric: Metric) -> Metric {
    Metric { unit: Unit::Bytes, ..metric }
}

const fn of(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values: Values::Of(values) }
}

const GATEWAY_OUTCOME: Label = of(
    "outcome",
    &["done", "replayed", "declined", "in_progress", "voided", "refused", "already_charged", "fault"],
);
const CURRENCY: Label = Label { name: "currency", values: Values::By("ISO 4217: those that orders came in") };

/// The list, in the order of an order's way.
pub const ALL: &[Metric] = &[
    // http
    Metric {
        name: "http_request_seconds",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: &[
            of("method", &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "other"]),
            Label { name: "path", values: Values::By("the routes' patterns, and `unmatched`") },
            Label { name: "status", values: Values::By("the statuses that the api answers") },
        ],
        programs: API,
        help: "Requests, from the first byte of the header read to the answer's header written.",
    },
    // identity
    counter(
        "identity_key_looks_total",
        &[of("outcome", &["well", "failed"])],
        API,
        "Looks at the keys of an issuer; those known stay good where one fails.",
    ),
    counter(
        "identity_stolen_sessions_total",
        &[],
        API,
        "Sessions that were ended because an old refresh token was used again.",
    ),
    counter(
        "identity_too_fast_total",
        &[of("limit", &["customer", "staff", "address", "log_in"])],
        API,
        "Requests that were answered 429 because this caller, or this address, asks too fast.",
    ),
    // accept
    counter(
        "accept_orders_total",
        &[of("outcome", &["accepted", "replayed", "key_reused", "out_of_stock", "failed"])],
        API,
        "Orders handed to the writers, by what became of them; `accepted` ones are durable. `out_of_stock` counts those, too, that were refused at sight.",
    ),
    counter("accept_channel_orders_total", &[], API, "Of the accepted orders, those that came by a channel."),
    counter(
        "accept_paid_elsewhere_total",
        &[],
        API,
        "Of the accepted orders, those whose channel took the money: confirmed from the start, never charged.",
    ),
    counter(
        "accept_refused_documents_total",
        &[of("dialect", &["plain", "deliverect", "shopify", "woocommerce"])],
        API,
        "Documents of channels that could not be taken, by what the channel speaks; they are kept to be looked at, and sent again.",
    ),
    seconds("accept_commit_seconds", API, "Group commits of orders, the wait for the disk included."),
    sizes("accept_batch_size", API, "Orders in one group commit."),
    gauge(
        "accept_waiting_orders",
        &[],
        API,
        "Orders that wait for a writer; at API_BACKLOG the api answers 503.",
    ),
    // publish
    counter(
        "publish_payments_total",
        &[of("outcome", &["confirmed", "refused", "dropped"])],
        API,
        "Payments offered to the broker; what it did not confirm is swept.",
    ),
    seconds("publish_confirm_seconds", API, "From sending messages to the last one's confirm."),
    sizes("publish_batch_size", API, "Payments in one message."),
    gauge("publish_waiting_batches", &[], API, "Group commits that wait to be published."),
    gauge("publish_broker_up", &[], API, "1 while the api is connected to the broker."),
    // claim
    counter(
        "claim_payments_total",
        &[of("by", &["message", "sweep"])],
        WORKER,
        "Payments claimed, by what named them: a message, or the sweep of what is due.",
    ),
    counter(
        "claim_superseded_total",
        &[],
        WORKER,
        "Payments that a message named and that were settled already, not due, or somebody else's: normal after a redelivery.",
    ),
    counter("claim_dead_letters_total", &[], WORKER, "Messages that nobody can read, laid aside."),
    seconds("claim_commit_seconds", WORKER, "Claims, a batch each."),
    sizes("claim_batch_size", WORKER, "Payments claimed at once; empty claims are not counted."),
    gauge(
        "claim_in_hand_payments",
        &[of("by", &["message", "sweep"])],
        WORKER,
        "Payments claimed and not settled yet; each kind has room for WORKER_CONCURRENCY.",
    ),
    gauge(
        "claim_broker_up",
        &[],
        WORKER,
        "1 while the worker takes messages; 0 also while the breaker is open or nothing can be claimed.",
    ),
    // charge
    counter(
        "charge_attempts_total",
        &[
            of("action", &["charge", "void", "refund"]),
            of(
                "outcome",
                &[
                    "succeeded",
                    "declined",
                    "voided",
                    "pending",
                    "in_doubt",
                    "refused",
                    "unavailable",
                    "misconfigured",
                    "abandoned",
                ],
            ),
        ],
        WORKER,
        "Tries at the gateway, by what was asked and how it ended. `abandoned` is known by the database alone.",
    ),
    counter(
        "charge_foreign_receipts_total",
        &[],
        WORKER,
        "Answers of success that were not for what was asked: another key, amount or currency. The payment stays in doubt.",
    ),
    seconds("charge_gateway_seconds", WORKER, "Requests to the gateway, until the answer or the time-out."),
    gauge(
        "charge_pace_per_second",
        &[],
        WORKER,
        "Requests a second that the gateway is asked at most, because it answered 429; 0: as many as there are.",
    ),
    gauge("breaker_state", &[], WORKER, "The circuit breaker: 0 closed, 1 probing, 2 open."),
    counter(
        "breaker_moves_total",
        &[of("to", &["closed", "half_open", "open"])],
        WORKER,
        "Moves of the circuit breaker.",
    ),
    counter(
        "breaker_rejected_total",
        &[],
        WORKER,
        "Payments that were claimed and not sent because the breaker had opened.",
    ),
    // settle
    counter(
        "settle_payments_total",
        &[of("outcome", &["moved", "released", "superseded", "lost"])],
        WORKER,
        "Claims brought to an end. `released`: given back unsent; `superseded`: the lease had run out; `lost`: not committed, the lease decides.",
    ),
    counter(
        "settle_ended_total",
        &[of("kind", &["charge", "refund"]), of("status", &["succeeded", "failed"])],
        WORKER,
        "Payments that became final. A charge that succeeded is a confirmed order.",
    ),
    counter(
        "settle_charged_minor_total",
        &[CURRENCY],
        WORKER,
        "Money taken, in minor units of its currency.",
    ),
    counter(
        "settle_refunded_minor_total",
        &[CURRENCY],
        WORKER,
        "Money given back, in minor units of its currency.",
    ),
    seconds(
        "settle_order_seconds",
        WORKER,
        "From an order's arrival (the time in its id, by the api's clock) to the end of its charge.",
    ),
    sizes("settle_tries", WORKER, "Tries that a payment took to its end, voids included."),
    seconds(
        "settle_commit_seconds",
        WORKER,
        "Settlements, a batch each, retries while the database is away included.",
    ),
    sizes("settle_batch_size", WORKER, "Payments in one settlement."),
    counter(
        "settle_held_total",
        &[],
        WORKER,
        "Settlements that wait because somebody else holds the payment or its order; the others of their batch do not.",
    ),
    // move
    counter(
        "move_orders_total",
        &[of("outcome", &["moved", "wished", "replayed", "key_reused", "refused", "failed"])],
        API,
        "What staff and customers asked of orders, by what became of it. `wished`: cancelled once the charge is known; `replayed`: done before, under the same key; `refused`: not from where the order stood, a normal outcome of a race.",
    ),
    seconds("move_commit_seconds", API, "Such requests, one transaction each."),
    counter(
        "move_held_total",
        &[],
        API,
        "Such requests that wait because somebody else holds the order; requests about other orders do not.",
    ),
    // sweep
    counter(
        "sweep_runs_total",
        &[of("found", &["some", "nothing", "error"])],
        WORKER,
        "Looks for what is due, and what they found.",
    ),
    counter(
        "sweep_rejected_orders_total",
        &[],
        WORKER,
        "Orders rejected because the kitchen did not answer in time; POST /internal/sweeps/stale-orders is not counted.",
    ),
    counter(
        "sweep_put_aside_total",
        &[
            of(
                "chore",
                &["claim", "deadline", "its_time", "let_go", "take_off", "call_off", "holds", "forget"],
            ),
            of("why", &["refused", "held"]),
        ],
        WORKER,
        "What could not be done to one of many, which rests, longer each time, while the others go on. `refused`: by the database, a fault of ours; `held`: somebody else holds its row.",
    ),
    counter(
        "sweep_called_off_charges_total",
        &[],
        WORKER,
        "Charges not brought to an end in time: their orders end where nothing was ever sent; the others are only voided from then on.",
    ),
    in_seconds(gauge(
        "sweep_oldest_order_seconds",
        &[of("status", &["ACCEPTED", "PREPARING", "READY"])],
        WORKER,
        "From the database: how long an order that the kitchen has (ACCEPTED, PREPARING, READY) has stood there, the longest; 0 where none does.",
    )),
    in_seconds(gauge(
        "sweep_unanswered_seconds",
        &[],
        WORKER,
        "From the database: how long the oldest passed deadline of the kitchen has been waiting for its rejection; 0 where none is.",
    )),
    in_seconds(gauge(
        "sweep_clock_distrusted_seconds",
        &[],
        WORKER,
        "From the database: how much further than anybody watched its clock went, while something would be late by it; until an operator says that it is right no deadline counts. 0: the clock is believed.",
    )),
    gauge(
        "sweep_refused_refunds",
        &[],
        WORKER,
        "From the database: refunds that the gateway refused at the last try; they are tried on, slowly.",
    ),
    counter(
        "sweep_settled_holds_total",
        &[],
        WORKER,
        "What ended orders held of the stock, counted to what is available or sold.",
    ),
    counter(
        "sweep_expired_holds_total",
        &[],
        WORKER,
        "Those among them of carts whose time was over before they were ordered or let go.",
    ),
    gauge(
        "sweep_sold_out_items",
        &[],
        WORKER,
        "From the database, every half minute: of the newest 10,000 items that are counted, those that were there once and are not any more.",
    ),
    gauge(
        "sweep_contradicting_stock",
        &[],
        WORKER,
        "From the database, every half minute: of the newest 10,000 items, those of which available, held and sold are not what was put in. Never anything but 0.",
    ),
    counter("sweep_forgotten_keys_total", &[], WORKER, "Idempotency keys forgotten because of their age."),
    counter("sweep_forgotten_sessions_total", &[], WORKER, "Logins forgotten that ended long ago."),
    in_seconds(gauge(
        "sweep_oldest_due_seconds",
        &[],
        WORKER,
        "From the database: how long the payment that is due longest has been due; 0 where none is.",
    )),
    in_seconds(gauge(
        "sweep_oldest_open_seconds",
        &[of("kind", &["charge", "refund"])],
        WORKER,
        "From the database: how long ago the oldest payment was made that is not final; 0 where none is.",
    )),
    gauge(
        "sweep_open_payments",
        &[of("status", &["held", "pending", "processing", "waiting"])],
        WORKER,
        "From the database: payments that are not final: the backlog. Counted up to 50,000.",
    ),
    gauge(
        "sweep_in_doubt_payments",
        &[],
        WORKER,
        "From the database: payments that are not final, and of which a try left open whether the money moved and none since has said.",
    ),
    gauge(
        "sweep_open_orders",
        &[of(
            "status",
            &[
                "PENDING",
                "PAYMENT_PROCESSING",
                "CONFIRMED",
                "PAYMENT_FAILED",
                "ACCEPTED",
                "PREPARING",
                "READY",
                "DELIVERED",
                "REJECTED",
                "CANCELLED",
            ],
        )],
        WORKER,
        "From the database: orders with a payment that is not final, by where they stand.",
    ),
    gauge(
        "sweep_contradicting_orders",
        &[],
        WORKER,
        "From the database, every half minute: of the newest 10,000 orders, those whose status and payments contradict each other. Never anything but 0.",
    ),
    gauge(
        "sweep_waiting_messages",
        &[],
        WORKER,
        "From the broker, every half minute: messages to be delivered.",
    ),
    gauge(
        "sweep_dead_letters",
        &[],
        WORKER,
        "From the broker, every half minute: messages laid aside that a person should look at; the newest 10,000.",
    ),
    in_seconds(gauge(
        "sweep_facts_timestamp_seconds",
        &[],
        WORKER,
        "When the facts from the database were last seen, as Unix time; their age is `time()` less this.",
    )),
    gauge(
        "sweep_feed_went_back",
        &[],
        WORKER,
        "1: the database gives ids that it has given before, and nothing that happens can be followed.",
    ),
    in_seconds(gauge(
        "sweep_unread_seconds",
        &[],
        WORKER,
        "From the database, every minute: how long ago the first moment was that a follower has still to read, also of one that is switched off.",
    )),
    // follow
    counter("follow_events_total", &[FOLLOWERS], FOLLOWER, "Events that took effect."),
    counter(
        "follow_gone_total",
        &[FOLLOWERS],
        FOLLOWER,
        "Times that what comes next was not there any more, because the database was restored.",
    ),
    gauge(
        "follow_aside_events",
        &[FOLLOWERS],
        FOLLOWER,
        "From the database: events that could not be worked off, and those behind them.",
    ),
    in_seconds(gauge(
        "follow_lag_seconds",
        &[FOLLOWERS],
        FOLLOWER,
        "How long what has not taken effect yet has been there.",
    )),
    gauge(
        "follow_today_orders",
        &[of("what", &["accepted", "confirmed", "failed", "rejected", "cancelled", "delivered"])],
        FOLLOWER,
        "From the database, where numbers are rolled up: how often orders came in, and came to this, since the first location's midnight.",
    ),
    gauge(
        "follow_today_money_minor",
        &[CURRENCY, of("way", &["in", "back"])],
        FOLLOWER,
        "From the database, where numbers are rolled up: what came in by whichever way, and what went back or has to, since the first location's midnight, in minor units.",
    ),
    in_seconds(gauge(
        "follow_stay_seconds",
        &[of("status", &["PENDING", "PAYMENT_PROCESSING", "CONFIRMED", "ACCEPTED", "PREPARING", "READY"])],
        FOLLOWER,
        "From the database, where numbers are rolled up: how long stays were on average that began within the last hour and are over; 0 where none is.",
    )),
    // deliver
    counter(
        "deliver_attempts_total",
        &[of("outcome", &["taken", "refused", "unreachable"])],
        FOLLOWER,
        "Requests to webhooks, by outcome.",
    ),
    counter(
        "deliver_parked_total",
        &[],
        FOLLOWER,
        "Deliveries that were tried for long enough and are sent again only when told.",
    ),
    in_seconds(gauge(
        "deliver_oldest_due_seconds",
        &[],
        FOLLOWER,
        "From the database: how long the delivery that is due longest has been due.",
    )),
    gauge("deliver_parked", &[], FOLLOWER, "From the database: deliveries that are parked, up to 10,000."),
    gauge(
        "deliver_disabled",
        &[],
        FOLLOWER,
        "From the database: endpoints that nothing is sent to because they are gone, or failed for days.",
    ),
    gauge(
        "deliver_late",
        &[],
        FOLLOWER,
        "From the database: endpoints of which so much waits that they follow by themselves.",
    ),
    // mail
    counter(
        "mail_attempts_total",
        &[of("outcome", &["sent", "refused", "failed"])],
        FOLLOWER,
        "Mails that were handed over, by outcome: taken, refused for good, or to be tried again.",
    ),
    counter(
        "mail_parked_total",
        &[],
        FOLLOWER,
        "Mails that were refused, or tried for long enough, and are sent again only when told.",
    ),
    in_seconds(gauge(
        "mail_oldest_due_seconds",
        &[],
        FOLLOWER,
        "From the database: how long the mail that is due longest has been due.",
    )),
    gauge("mail_parked", &[], FOLLOWER, "From the database: mails that are parked, up to 10,000."),
    // read
    gauge(
        "read_streams",
        &[],
        API,
        "Clients that follow what happens: open streams, and those who wait for an event.",
    ),
    gauge("read_connections", &[of("state", &["idle", "used"])], API, "Connections of the pools for reads."),
    in_seconds(gauge(
        "read_replica_behind_seconds",
        &[],
        API,
        "How far the replica (`DATABASE_READ_URL`) is behind; 0 where there is none.",
    )),
    // gateway
    counter("gateway_charges_total", &[GATEWAY_OUTCOME], GATEWAY, "Requests to charge, by how they ended."),
    counter("gateway_voids_total", &[GATEWAY_OUTCOME], GATEWAY, "Requests to void a key, by how they ended."),
    counter("gateway_refunds_total", &[GATEWAY_OUTCOME], GATEWAY, "Requests to refund, by how they ended."),
    counter(
        "gateway_faults_total",
        &[of(
            "fault",
            &[
                "none",
                "misconfigured",
                "too_many",
                "error",
                "timeout_before",
                "error_after",
                "timeout_after",
                "malformed",
                "foreign_receipt",
                "huge",
                "pending",
                "late",
            ],
        )],
        GATEWAY,
        "Faults played on charges and refunds, by kind.",
    ),
    // trace
    counter(
        "trace_spans_total",
        &[of("outcome", &["sent", "failed", "dropped"])],
        ORDERS,
        "Spans that ended, by what became of them. `failed`: the collector did not take them; `dropped`: more than can be sent. All 0 while traces are off.",
    ),
    // process
    in_seconds(counter("process_cpu_seconds_total", &[], EVERY, "CPU time, user and system.")),
    gauge("process_open_fds", &[], EVERY, "Open file descriptors."),
    gauge("process_max_fds", &[], EVERY, "Limit of open file descriptors."),
    in_bytes(gauge("process_virtual_memory_bytes", &[], EVERY, "Virtual memory.")),
    in_bytes(gauge("process_virtual_memory_max_bytes", &[], EVERY, "Limit of virtual memory.")),
    in_bytes(gauge("process_resident_memory_bytes", &[], EVERY, "Resident memory.")),
    in_seconds(gauge("process_start_time_seconds", &[], EVERY, "When the process started, as Unix time.")),
    gauge("process_threads", &[], EVERY, "Threads of the process."),
];

/// Gives each metric its help text on `/metrics`.
pub(crate) fn describe() {
    for Metric { name, kind, unit, help, .. } in ALL {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *unit, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *unit, *help),
            Kind::Histogram => metrics::describe_histogram!(*name, *unit, *help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_verb_and_unit() {
        for (place, metric) in ALL.iter().enumerate() {
            assert!(ALL[..place].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
            let verb = metric.name.split('_').next().unwrap_or("");
            assert!(
                [
                    "http", "accept", "publish", "claim", "charge", "breaker", "settle", "move", "sweep",
                    "read", "follow", "deliver", "mail", "tell", "gateway", "trace", "process", "identity"
                ]
                .contains(&verb),
                "{}",
                metric.name
            );
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            let bare = metric.name.trim_end_matches("_total");
            assert_eq!(metric.unit == Unit::Seconds, bare.ends_with("_seconds"), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
