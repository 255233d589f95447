//! *Orders*: are they flowing, how long do they take, how old is the oldest? A row a verb.

use crate::board::Board;
use crate::panel::Panel;

pub(crate) fn board() -> Board {
    Board {
        file: "orders",
        title: "Comanda: orders",
        description: "Are orders flowing, how long do they take, how old is the oldest? A row a verb.",
        rows: vec![
            ("at a glance", at_a_glance()),
            ("accept: committed, and answered 202", accept()),
            ("publish: the broker holds a hint", publish()),
            ("claim: one worker may charge it", claim()),
            ("charge: the gateway is asked", charge()),
            ("settle: committed together, then acknowledged", settle()),
            ("move: what staff and customers do", moves()),
            ("sweep: whatever is due is taken up", sweep()),
            ("follow, deliver: others are told", follow()),
            ("read", read()),
        ],
    }
}

fn at_a_glance() -> Vec<Panel> {
    vec![
        Panel::number("Accepted", "ops", "Orders that became durable, a second.")
            .ask(r#"sum(rate(accept_orders_total{outcome="accepted"}[$__rate_interval]))"#, "accepted"),
        Panel::number("Confirmed", "ops", "Orders whose charge succeeded, a second.").ask(
            r#"sum(rate(settle_ended_total{kind="charge",status="succeeded"}[$__rate_interval]))"#,
            "confirmed",
        ),
        Panel::number("Oldest due", "s", "How long the payment that is due longest has been due. Runbook: PaymentsOverdue.")
            .ask("max(sweep_oldest_due_seconds)", "oldest due")
            .limits(10.0, 60.0),
        Panel::number("Not final", "short", "Payments that are not final: the backlog, up to 50,000.")
            .ask("sum(max by (status) (sweep_open_payments))", "payments"),
        Panel::number("In doubt", "short", "Payments of which nobody knows yet whether the money moved. Runbook: PaymentsInDoubt.")
            .ask("max(sweep_in_doubt_payments)", "in doubt")
            .limits(1.0, 10.0),
        Panel::number("Server errors", "percentunit", "Share of requests answered 5xx. Runbook: ApiErrors.")
            .ask(
                r#"(sum(rate(http_request_seconds_count{status=~"5.."}[$__rate_interval])) or vector(0)) / sum(rate(http_request_seconds_count[$__rate_interval]))"#,
                "5xx",
            )
            .limits(0.001, 0.01),
        Panel::number("Accept, 99 %", "s", "Within this 99 of 100 orders are answered.")
            .ask(
                r#"histogram_quantile(0.99, sum by (le) (rate(http_request_seconds_bucket{method="POST"}[$__rate_interval])))"#,
                "99 % within",
            )
            .limits(0.05, 0.3),
        Panel::number("Facts' age", "s", "How old the facts from the database are that these panels show. Runbook: FactsAreOld.")
            .ask("time() - max(sweep_facts_timestamp_seconds)", "age")
            .limits(20.0, 60.0),
    ]
}

fn accept() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Orders by outcome",
            "ops",
            "What became of the orders that were handed to the writers.",
        )
        .ask("sum by (outcome) (rate(accept_orders_total[$__rate_interval]))", "{{outcome}}"),
        Panel::lines(
            "POST answered within",
            "s",
            "From the request's header to the answer, the wait for the disk included.",
        )
        .ask_quantiles("http_request_seconds", r#"{method="POST"}"#)
        .limits(0.05, 0.3),
        Panel::heat_map(
            "POST answered within, all",
            "s",
            "Every order's time from the request's header to the answer.",
            "http_request_seconds",
            r#"{method="POST"}"#,
        ),
        Panel::lines(
            "Answers by status",
            "reqps",
            "Every request that is no read, by the status of its answer.",
        )
        .ask(
            r#"sum by (status) (rate(http_request_seconds_count{method!="GET"}[$__rate_interval]))"#,
            "{{status}}",
        ),
        Panel::lines(
            "Commit",
            "s",
            "Group commits of orders: one statement and one flush of the disk for a whole batch.",
        )
        .ask_quantiles("accept_commit_seconds", ""),
        Panel::lines(
            "Waiting for a writer",
            "short",
            "Orders in the queue of each api; at API_BACKLOG (4,096) it answers 503.",
        )
        .ask("accept_waiting_orders", "{{instance}}")
        .limits(1_000.0, 4_000.0),
        Panel::lines(
            "Of channels",
            "ops",
            "Of the accepted orders, those of aggregators, and those whose channel has taken the money: they are never charged.",
        )
        .ask("sum(rate(accept_channel_orders_total[$__rate_interval]))", "of a channel")
        .ask("sum(rate(accept_paid_elsewhere_total[$__rate_interval]))", "paid there"),
        Panel::lines(
            "Documents refused",
            "ops",
            "Documents of channels that could not be taken, by what the channel speaks. They are kept. Runbook: DocumentsRefused.",
        )
        .ask("sum by (dialect) (rate(accept_refused_documents_total[$__rate_interval]))", "{{dialect}}"),
    ]
}

fn publish() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Payments by outcome",
            "ops",
            "Offered to the broker; what it did not confirm is swept a few seconds later.",
        )
        .ask("sum by (outcome) (rate(publish_payments_total[$__rate_interval]))", "{{outcome}}"),
        Panel::lines("Confirmed within", "s", "From sending messages to the last one's confirm.")
            .ask_quantiles("publish_confirm_seconds", ""),
        Panel::states(
            "Broker",
            "Whether each api is connected. Runbook: BrokerAway.",
            &[(0, "away", "red"), (1, "up", "green")],
        )
        .ask("publish_broker_up", "{{instance}}"),
    ]
}

fn claim() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Payments by what named them",
            "ops",
            "By a message, or by the sweep; much by the sweep means that messages get lost.",
        )
        .ask("sum by (by) (rate(claim_payments_total[$__rate_interval]))", "by {{by}}")
        .ask("sum(rate(claim_superseded_total[$__rate_interval]))", "named in vain"),
        Panel::lines("Claimed within", "s", "One statement for all that a few messages name.")
            .ask_quantiles("claim_commit_seconds", ""),
        Panel::lines(
            "In hand",
            "short",
            "Claimed and not settled yet, by worker; each kind has room for WORKER_CONCURRENCY (512).",
        )
        .ask("claim_in_hand_payments", "{{instance}} by {{by}}")
        .limits(400.0, 512.0),
        Panel::states(
            "Takes messages",
            "Whether each worker does; not while its breaker is open or nothing can be claimed. Meanwhile the sweep finds what is due. Runbook: BrokerAway.",
            &[(0, "no", "orange"), (1, "yes", "green")],
        )
        .ask("claim_broker_up", "{{instance}}"),
        Panel::lines(
            "Laid aside",
            "ops",
            "Messages that nobody can read, and payments that the database would not hand out: faults of ours. Runbook: DeadLetters.",
        )
        .ask("sum(rate(claim_dead_letters_total[$__rate_interval]))", "messages")
        .ask("sum(rate(sweep_put_aside_total{chore=\"claim\"}[$__rate_interval]))", "payments"),
    ]
}

fn charge() -> Vec<Panel> {
    vec![
        Panel::lines("Tries by outcome", "ops", "What the gateway answered.")
            .ask("sum by (outcome) (rate(charge_attempts_total[$__rate_interval])) > 0", "{{outcome}}")
            .stacked(),
        Panel::lines("Gateway answers within", "s", "Until the answer or the time-out.")
            .ask_quantiles("charge_gateway_seconds", ""),
        Panel::states(
            "Circuit breaker",
            "Of each worker; while it is open, orders are accepted and no payment is taken up. Runbook: BreakerOpen.",
            &[(0, "closed", "green"), (1, "probing", "orange"), (2, "open", "red")],
        )
        .ask("breaker_state", "{{instance}}"),
    ]
}

fn settle() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Payments that ended",
            "ops",
            "Became final: a charge that succeeded is a confirmed order.",
        )
        .ask("sum by (kind, status) (rate(settle_ended_total[$__rate_interval]))", "{{kind}} {{status}}"),
        Panel::lines(
            "Accepted to paid",
            "s",
            "From the order's acceptance to the end of its charge, retries included.",
        )
        .ask_quantiles("settle_order_seconds", "")
        .limits(5.0, 60.0),
        Panel::heat_map(
            "Accepted to paid, all",
            "s",
            "Every order's time from its acceptance to the end of its charge.",
            "settle_order_seconds",
            "",
        ),
    ]
}

fn moves() -> Vec<Panel> {
    vec![
        Panel::lines("Moves", "ops", "What staff and customers asked of orders; `wished`: cancelled once the charge is known; `refused`: the order stood elsewhere.")
            .ask("sum by (outcome) (rate(move_orders_total[$__rate_interval]))", "{{outcome}}")
            .stacked(),
        Panel::lines("Carried out within", "s", "Such a request, one transaction.")
            .ask_quantiles("move_commit_seconds", "")
            .limits(0.1, 1.0),
        Panel::lines("Unanswered", "ops", "Orders rejected because the kitchen did not answer in time, and charges called off because they took too long.")
            .ask("sum(rate(sweep_rejected_orders_total[$__rate_interval]))", "rejected")
            .ask("sum(rate(sweep_called_off_charges_total[$__rate_interval]))", "called off")
            .ask("sum(rate(sweep_put_aside_total{chore=\"deadline\"}[$__rate_interval]))", "put aside"),
        Panel::lines("Deadlines overdue", "s", "How long the oldest passed deadline has been waiting for its rejection, and how far the database's clock went unwatched. Runbooks: DeadlinesOverdue, ClockNotTrusted.")
            .ask("max(sweep_unanswered_seconds)", "overdue")
            .ask("max(sweep_clock_distrusted_seconds)", "the clock is not believed")
            .limits(5.0, 30.0),
        Panel::lines("Longest in the kitchen", "s", "How long an order has stood where it does, the longest. Runbook: OrdersLeftLying.")
            .ask("max by (status) (sweep_oldest_order_seconds)", "{{status}}")
            .limits(7200.0, 14400.0),
    ]
}

fn sweep() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Oldest due",
            "s",
            "How long the payment that is due longest has been due: the one number that must stay low.",
        )
        .ask("max(sweep_oldest_due_seconds)", "oldest due")
        .limits(10.0, 60.0),
        Panel::lines("Backlog", "short", "Payments that are not final, by status; counted up to 50,000.")
            .ask("max by (status) (sweep_open_payments)", "{{status}}")
            .stacked(),
        Panel::lines("Looks", "ops", "Looks for what is due, and what they found.")
            .ask("sum by (found) (rate(sweep_runs_total[$__rate_interval]))", "{{found}}"),
        Panel::lines(
            "Orders under way",
            "short",
            "Orders with a payment that is not final, by where they stand.",
        )
        .ask(r#"max by (status) (sweep_open_orders{status=~"PENDING|PAYMENT_PROCESSING"})"#, "{{status}}")
        .stacked(),
        Panel::lines(
            "Messages",
            "short",
            "What lies in the broker, looked at every half minute. Runbook: DeadLetters.",
        )
        .ask("max(sweep_waiting_messages)", "waiting")
        .ask("max(sweep_dead_letters)", "dead letters"),
        Panel::lines(
            "Forgotten",
            "ops",
            "Idempotency keys that have reached their age, and logins that ended long ago, a second.",
        )
        .ask("sum(rate(sweep_forgotten_keys_total[$__rate_interval]))", "keys")
        .ask("sum(rate(sweep_forgotten_sessions_total[$__rate_interval]))", "logins"),
        Panel::lines(
            "Stock that is let go",
            "ops",
            "Items that ended orders and carts held, counted to what is available or sold, a second.",
        )
        .ask("sum(rate(sweep_settled_holds_total[$__rate_interval]))", "holds")
        .ask("sum(rate(sweep_expired_holds_total[$__rate_interval]))", "of carts whose time was over"),
        Panel::number(
            "Stock that does not add up",
            "short",
            "Items of which available, held and sold are not what was put in; never anything but 0. Runbook: StockDoesNotAddUp.",
        )
        .ask("max(sweep_contradicting_stock)", "items")
        .limits(1.0, 1.0),
    ]
}

fn follow() -> Vec<Panel> {
    vec![
        Panel::number(
            "Follower's lag",
            "s",
            "How long what has not been followed yet has been there. Runbook: FollowerLags.",
        )
        .ask("max by (follower) (follow_lag_seconds)", "{{follower}}")
        .limits(5.0, 60.0),
        Panel::lines(
            "Followed",
            "ops",
            "Events that took effect, a second; and how often what comes next was not there any more.",
        )
        .ask("sum by (follower) (rate(follow_events_total[$__rate_interval]))", "{{follower}}")
        .ask("sum by (follower) (rate(follow_gone_total[$__rate_interval]))", "{{follower}}: gone"),
        Panel::number(
            "Put aside",
            "short",
            "Events that could not be worked off, and those behind them. Runbook: EventsAside.",
        )
        .ask("max by (follower) (follow_aside_events)", "{{follower}}")
        .limits(1.0, 1.0),
        Panel::number(
            "Unread",
            "s",
            "How long ago the first moment was that a follower has still to read, also of one that is switched off. Runbook: FollowerIsOff.",
        )
        .ask("max(sweep_unread_seconds)", "unread")
        .limits(3_600.0, 86_400.0),
        Panel::lines(
            "Sent to webhooks",
            "ops",
            "Requests by outcome, and deliveries that were given up, a second.",
        )
        .ask("sum by (outcome) (rate(deliver_attempts_total[$__rate_interval]))", "{{outcome}}")
        .ask("sum(rate(deliver_parked_total[$__rate_interval]))", "parked"),
        Panel::lines("Oldest due", "s", "How long the delivery that is due longest has been due.")
            .ask("max(deliver_oldest_due_seconds)", "oldest due"),
        Panel::number(
            "Parked",
            "short",
            "Deliveries that are sent again only when told. Runbook: DeliveriesParked.",
        )
        .ask("max(deliver_parked)", "parked")
        .limits(1.0, 100.0),
        Panel::number(
            "Disabled",
            "short",
            "Endpoints that nothing is sent to because they are gone, or failed for days. Runbook: WebhookDisabled.",
        )
        .ask("max(deliver_disabled)", "disabled")
        .limits(1.0, 1.0),
        Panel::number(
            "Late",
            "short",
            "Endpoints of which so much waits that they follow by themselves: slow ones, and those that do not answer.",
        )
        .ask("max(deliver_late)", "late")
        .limits(1.0, 10.0),
        Panel::lines("Mail", "ops", "Mails by outcome, and those that were given up, a second.")
            .ask("sum by (outcome) (rate(mail_attempts_total[$__rate_interval]))", "{{outcome}}")
            .ask("sum(rate(mail_parked_total[$__rate_interval]))", "parked"),
        Panel::lines(
            "Oldest mail",
            "s",
            "How long the mail that is due longest has been due. Runbook: MailWaits.",
        )
        .ask("max(mail_oldest_due_seconds)", "oldest due"),
        Panel::number(
            "Parked mail",
            "short",
            "Mails that are sent again only when told. Runbook: MailParked.",
        )
        .ask("max(mail_parked)", "parked")
        .limits(1.0, 100.0),
    ]
}

fn read() -> Vec<Panel> {
    vec![
        Panel::lines("Reads by page", "reqps", "Requests to see orders, by route.")
            .ask(r#"sum by (path) (rate(http_request_seconds_count{method="GET",path=~"/api.*"}[$__rate_interval]))"#, "{{path}}"),
        Panel::lines("Answered within", "s", "From the request's header to the answer.")
            .ask_quantiles("http_request_seconds", r#"{method="GET",path=~"/api.*"}"#)
            .limits(0.1, 1.0),
        Panel::lines("Connections for reads", "short", "Of each api's pool; all used means that reads wait (API_READERS).")
            .ask("read_connections", "{{instance}} {{state}}"),
        Panel::lines("Following", "short", "Clients that follow what happens, by streams or by waiting for it (API_STREAMS).")
            .ask("read_streams", "{{instance}}"),
        Panel::number("Feed went back", "short", "1: the database was made anew from a dump, and nothing can be followed. Runbook: FeedWentBack.")
            .ask("max(sweep_feed_went_back)", "went back")
            .limits(1.0, 1.0),
    ]
}
