//! *Business*: what is earned, how many orders are confirmed, how many fail.

use crate::board::Board;
use crate::panel::Panel;

/// Currencies whose minor unit is the major one, and those with a thousand to it (ISO 4217); all others have a hundred.
const WHOLE: &str = "BIF|CLP|DJF|GNF|ISK|JPY|KMF|KRW|PYG|RWF|UGX|UYI|VND|VUV|XAF|XOF|XPF";
const THOUSANDTHS: &str = "BHD|IQD|JOD|KWD|LYD|OMR|TND";

pub(crate) fn board() -> Board {
    Board {
        file: "business",
        title: "Comanda: business",
        description: "What is earned, how many orders are confirmed, how many fail?",
        rows: vec![
            ("in the time shown", in_the_time_shown()),
            ("today, as it is rolled up for managers", today()),
            ("over time", over_time()),
            ("stock", stock()),
        ],
    }
}

/// A counter of minor units, as amounts of each currency, over `window`.
fn amounts(metric: &str, window: &str) -> String {
    major(|labels| format!("sum by (currency) (increase({metric}{{{labels}}}[{window}]))"))
}

/// A gauge of minor units that all say alike, as amounts of each currency.
fn gauged(metric: &str, label: &str) -> String {
    major(|labels| format!("max by (currency) ({metric}{{{label},{labels}}})"))
}

/// Of minor units, by the labels of currencies that have so many.
fn major(of: impl Fn(&str) -> String) -> String {
    format!(
        "{} / 100 or {} or {} / 1000",
        of(&format!(r#"currency!~"{WHOLE}|{THOUSANDTHS}""#)),
        of(&format!(r#"currency=~"{WHOLE}""#)),
        of(&format!(r#"currency=~"{THOUSANDTHS}""#))
    )
}

fn in_the_time_shown() -> Vec<Panel> {
    let ended = |status: &str, window: &str| {
        format!(r#"sum(increase(settle_ended_total{{kind="charge"{status}}}[{window}]))"#)
    };
    let succeeded = ended(r#",status="succeeded""#, "$__range");
    vec![
        Panel::number(
            "Revenue",
            "short",
            "Money taken in the time shown, by currency; refunds are not subtracted.",
        )
        .ask(amounts("settle_charged_minor_total", "$__range"), "{{currency}}")
        .wide(6),
        Panel::number("Orders confirmed", "short", "Orders whose charge succeeded in the time shown.")
            .ask(&succeeded, "orders")
            .wide(6),
        Panel::number(
            "Failed",
            "percentunit",
            "Share of the orders paid or failed in the time shown whose payment failed.",
        )
        .ask(format!("{} / {}", ended(r#",status="failed""#, "$__range"), ended("", "$__range")), "failed")
        .limits(0.1, 0.25)
        .wide(6),
        Panel::number("Confirmed within", "s", "95 of 100 orders were paid within this, in the time shown.")
            .ask(
                "histogram_quantile(0.95, sum by (le) (increase(settle_order_seconds_bucket[$__range])))",
                "95 % within",
            )
            .limits(5.0, 60.0)
            .wide(6),
    ]
}

/// From the numbers that `/analytics` tells: the first location's day, of all locations.
fn today() -> Vec<Panel> {
    let orders = |what: &str| format!(r#"max(follow_today_orders{{what="{what}"}})"#);
    let mut of_orders = Panel::lines(
        "Orders today",
        "short",
        "How many came in since midnight, and what became of orders meanwhile. The number of a day grows until its end.",
    )
    .wide(8);
    for what in ["accepted", "confirmed", "failed", "rejected", "cancelled", "delivered"] {
        of_orders = of_orders.ask(orders(what), what);
    }
    vec![
        of_orders,
        Panel::lines(
            "Money today",
            "short",
            "What came in since midnight by whichever way, at the gateway, at channels and in hand; and what went back, or has to.",
        )
        .ask(gauged("follow_today_money_minor", r#"way="in""#), "{{currency}} in")
        .ask(gauged("follow_today_money_minor", r#"way="back""#), "{{currency}} back")
        .wide(8),
        Panel::lines(
            "Mean stay",
            "s",
            "How long orders stayed in a status on average, of the stays that began within the last hour and are over.",
        )
        .ask("max by (status) (follow_stay_seconds)", "{{status}}")
        .wide(8),
    ]
}

fn stock() -> Vec<Panel> {
    vec![
        Panel::lines("Sold out", "short", "Items that were there once and are not any more. Runbook: SoldOut.")
            .ask("max(sweep_sold_out_items)", "items")
            .wide(12),
        Panel::lines(
            "Refused as sold out",
            "short",
            "Orders a minute of which there was not enough; and holds of carts a minute whose time was over, which nobody could order meanwhile. Runbook: HoldsExpire.",
        )
        .ask(r#"60 * sum(rate(accept_orders_total{outcome="out_of_stock"}[$__rate_interval]))"#, "refused")
        .ask("60 * sum(rate(sweep_expired_holds_total[$__rate_interval]))", "holds of carts")
        .wide(12),
    ]
}

fn over_time() -> Vec<Panel> {
    let per_minute = |status: &str| {
        format!(r#"60 * sum(rate(settle_ended_total{{kind="charge",status="{status}"}}[$__rate_interval]))"#)
    };
    vec![
        Panel::lines("Orders a minute", "short", "Accepted, confirmed and failed, against the 500 a minute that the house is built for.")
            .ask(r#"60 * sum(rate(accept_orders_total{outcome="accepted"}[$__rate_interval]))"#, "accepted")
            .ask(per_minute("succeeded"), "confirmed")
            .ask(per_minute("failed"), "failed")
            .ask("vector(500)", "500 a minute")
            .wide(12),
        Panel::lines("Failing share", "percentunit", "Of the payments that ended, those that failed. Runbook: PaymentsFail.")
            .ask(
                r#"sum(rate(settle_ended_total{kind="charge",status="failed"}[$__rate_interval])) / sum(rate(settle_ended_total{kind="charge"}[$__rate_interval]))"#,
                "failed",
            )
            .limits(0.1, 0.25)
            .wide(12),
        Panel::lines("Revenue an hour", "short", "Money taken in the last hour, by currency.")
            .ask(amounts("settle_charged_minor_total", "1h"), "{{currency}}")
            .wide(12),
        Panel::lines("Given back an hour", "short", "Money given back in the last hour, by currency: rejected and cancelled orders.")
            .ask(amounts("settle_refunded_minor_total", "1h"), "{{currency}}")
            .wide(12),
        Panel::lines("Confirmed within", "s", "From an order's acceptance to the end of its charge, retries included.")
            .ask_quantiles("settle_order_seconds", "")
            .wide(12),
    ]
}
