//! *Payments*: what does the gateway do, what is in doubt, do the books agree?

use crate::board::Board;
use crate::panel::Panel;

pub(crate) fn board() -> Board {
    Board {
        file: "payments",
        title: "Comanda: payments",
        description: "What does the gateway do, what is in doubt, do the books agree?",
        rows: vec![
            ("at a glance", at_a_glance()),
            ("charge: what the gateway answers", charge()),
            ("breaker", breaker()),
            ("settle: what became of it", settle()),
            ("gateway-mock: its own view", gateway()),
        ],
    }
}

fn at_a_glance() -> Vec<Panel> {
    vec![
        Panel::number("In doubt", "short", "Payments of which nobody knows yet whether the money moved. Runbook: PaymentsInDoubt.")
            .ask("max(sweep_in_doubt_payments)", "in doubt")
            .limits(1.0, 10.0)
            .wide(4),
        Panel::number(
            "Contradictions",
            "short",
            "Of the newest 10,000 orders, those whose status and payments contradict each other. Runbook: OrdersContradictPayments.",
        )
        .ask("max(sweep_contradicting_orders)", "orders")
        .limits(1.0, 1.0)
        .wide(4),
        Panel::number("Dead letters", "short", "Messages that nobody can read, or that came back too often. Runbook: DeadLetters.")
            .ask("max(sweep_dead_letters)", "messages")
            .limits(1.0, 10.0)
            .wide(4),
        Panel::number("Failing", "percentunit", "Share of charges that ended without the money taken. Runbook: PaymentsFail.")
            .ask(
                r#"sum(rate(settle_ended_total{kind="charge",status="failed"}[$__rate_interval])) / sum(rate(settle_ended_total{kind="charge"}[$__rate_interval]))"#,
                "failing",
            )
            .limits(0.1, 0.25)
            .wide(4),
        Panel::number("Tries a payment", "short", "Mean number of tries that a payment took to its end.")
            .ask("sum(rate(settle_tries_sum[$__rate_interval])) / sum(rate(settle_tries_count[$__rate_interval]))", "tries")
            .limits(1.5, 3.0)
            .wide(4),
        Panel::number("Worst breaker", "short", "0 closed, 1 probing, 2 open, of the worker that is worst off. Runbook: BreakerOpen.")
            .ask("max(breaker_state)", "state")
            .limits(1.0, 2.0)
            .wide(4),
    ]
}

fn charge() -> Vec<Panel> {
    vec![
        Panel::lines("Tries", "ops", "What was asked of the gateway and how it ended.")
            .ask("sum by (action, outcome) (rate(charge_attempts_total[$__rate_interval])) > 0", "{{action}}: {{outcome}}")
            .stacked(),
        Panel::heat_map("Gateway answers within, all", "s", "Every request, until the answer or the time-out.", "charge_gateway_seconds", ""),
        Panel::lines("Gateway answers within", "s", "Until the answer or the time-out.")
            .ask_quantiles("charge_gateway_seconds", "")
            .limits(1.0, 5.0),
        Panel::heat_map("Tries a payment", "short", "How many tries payments took to their end, voids included.", "settle_tries", ""),
        Panel::lines("In doubt", "short", "Payments that are not final, and of which a try left open whether the money moved and none since has said.")
            .ask("max(sweep_in_doubt_payments)", "in doubt")
            .limits(1.0, 10.0),
        Panel::lines("Voids", "ops", "Keys voided because no try was answered for certain; `succeeded`: it had been charged after all.")
            .ask(r#"sum by (outcome) (rate(charge_attempts_total{action="void"}[$__rate_interval]))"#, "{{outcome}}"),
        Panel::lines("Foreign receipts", "ops", "Answers of success that were not for what was asked; the payment stays in doubt. Runbook: ForeignReceipts.")
            .ask("sum(rate(charge_foreign_receipts_total[$__rate_interval]))", "receipts"),
    ]
}

fn breaker() -> Vec<Panel> {
    vec![
        Panel::states(
            "Circuit breaker",
            "Of each worker; while it is open, orders are accepted and no payment is taken up. Runbook: BreakerOpen.",
            &[(0, "closed", "green"), (1, "probing", "orange"), (2, "open", "red")],
        )
        .ask("breaker_state", "{{instance}}")
        .wide(12),
        Panel::lines("Moves", "ops", "Moves of the breaker, by where to.")
            .ask("sum by (to) (rate(breaker_moves_total[$__rate_interval]))", "to {{to}}")
            .wide(6),
        Panel::lines("Pace", "reqps", "How often a second each worker asks the gateway at most, because it answered 429; 0: as often as there is work. Runbook: GatewayTakesNoMore.")
            .ask("charge_pace_per_second", "{{instance}}")
            .wide(12),
        Panel::lines("Held back", "ops", "Payments that were claimed and not sent because the breaker had opened; they are given back.")
            .ask("sum(rate(breaker_rejected_total[$__rate_interval]))", "held back")
            .wide(6),
    ]
}

fn settle() -> Vec<Panel> {
    vec![
        Panel::lines("Claims by end", "ops", "Moved on; given back unsent; lost to another worker's claim; not committed. Runbook: SettlementsLost.")
            .ask("sum by (outcome) (rate(settle_payments_total[$__rate_interval]))", "{{outcome}}"),
        Panel::lines("Put aside", "ops", "What could not be done to one of many while the others went on: refused by the database, a fault of ours; or held, because somebody else has the row. Runbook: PutAside.")
            .ask("sum by (chore, why) (rate(sweep_put_aside_total[$__rate_interval]))", "{{chore}} {{why}}")
            .ask("sum(rate(settle_held_total[$__rate_interval]))", "settle held")
            .ask("sum(rate(move_held_total[$__rate_interval]))", "move held"),
        Panel::lines("Ended", "ops", "Payments that became final.")
            .ask("sum by (kind, status) (rate(settle_ended_total[$__rate_interval]))", "{{kind}} {{status}}")
            .stacked(),
        Panel::lines("Refunds refused", "short", "Refunds that the gateway refused at the last try; they are tried on, slowly. Runbook: RefundsRefused.")
            .ask("max(sweep_refused_refunds)", "refunds")
            .limits(1.0, 10.0),
        Panel::lines("Oldest payment", "s", "How long ago the oldest payment was made that is not final. Runbooks: ChargesOld, RefundsOld.")
            .ask("max by (kind) (sweep_oldest_open_seconds)", "{{kind}}")
            .limits(600.0, 3_600.0),
        Panel::lines("Contradictions", "short", "Of the newest 10,000 orders, those whose status and payments contradict each other.")
            .ask("max(sweep_contradicting_orders)", "orders")
            .limits(1.0, 1.0),
    ]
}

fn gateway() -> Vec<Panel> {
    vec![
        Panel::lines("Charges by outcome", "ops", "Requests to charge, as gateway-mock counts them.")
            .ask("sum by (outcome) (rate(gateway_charges_total[$__rate_interval])) > 0", "{{outcome}}")
            .stacked(),
        Panel::lines(
            "Voids and refunds",
            "ops",
            "Requests to void a key and to refund, as gateway-mock counts them.",
        )
        .ask("sum by (outcome) (rate(gateway_voids_total[$__rate_interval]))", "void: {{outcome}}")
        .ask("sum by (outcome) (rate(gateway_refunds_total[$__rate_interval]))", "refund: {{outcome}}"),
        Panel::lines("Faults played", "ops", "What gateway-mock was told to do wrong (PUT /v1/faults).")
            .ask(
                r#"sum by (fault) (rate(gateway_faults_total{fault!="none"}[$__rate_interval]))"#,
                "{{fault}}",
            )
            .stacked(),
    ]
}
