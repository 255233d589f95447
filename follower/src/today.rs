//! today: what the numbers say of today, shown to whoever watches the house. Read from the numbers that are rolled up, never counted
//! here: every follower says the same.
#![expect(clippy::float_arithmetic, reason = "means, and gauges; no money passes here")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use domain::order::status::OrderStatus;
use domain::rolled::hour::Orders;
use metrics::Gauge;
use store::rollups::today::{Today, today};
use store::session::Session;

/// Between two looks, which take some milliseconds each.
const EVERY: Duration = Duration::from_secs(10);

/// Where orders stay, for longer or shorter.
const STAYED_IN: [OrderStatus; 6] = [
    OrderStatus::Pending,
    OrderStatus::PaymentProcessing,
    OrderStatus::Confirmed,
    OrderStatus::Accepted,
    OrderStatus::Preparing,
    OrderStatus::Ready,
];

/// What is shown.
#[derive(Debug)]
pub(crate) struct Shown {
    looked_at: Option<Instant>,
    orders: [Gauge; 6],
    stays: [(OrderStatus, Gauge); STAYED_IN.len()],
    /// Yesterday's have nothing today, and say so.
    currencies: BTreeSet<String>,
}

impl Shown {
    pub(crate) fn new() -> Self {
        let orders = ["accepted", "confirmed", "failed", "rejected", "cancelled", "delivered"];
        Self {
            looked_at: None,
            orders: orders.map(|what| metrics::gauge!("follow_today_orders", "what" => what)),
            stays: STAYED_IN
                .map(|status| (status, metrics::gauge!("follow_stay_seconds", "status" => status.as_str()))),
            currencies: BTreeSet::new(),
        }
    }

    /// Looks, where it is time to.
    pub(crate) async fn look(&mut self, session: &mut Session) {
        if self.looked_at.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.looked_at = Some(Instant::now());
        match session.run(&(), |conn, ()| Box::pin(today(conn))).await {
            Ok(seen) => self.show(seen),
            // Whoever follows says so aloud; what is shown grows old meanwhile, as its lag says.
            Err(error) => tracing::debug!(%error, "cannot see today's numbers; trying on"),
        }
    }

    fn show(&mut self, seen: Today) {
        let Orders { accepted, confirmed, failed, rejected, cancelled, delivered } = seen.orders;
        for (gauge, number) in
            self.orders.iter().zip([accepted, confirmed, failed, rejected, cancelled, delivered])
        {
            gauge.set(number as f64);
        }
        for (status, gauge) in &self.stays {
            let stays = seen.stays.iter().find(|(of, ..)| of == status);
            let (over, millis) = stays.map_or((0, 0), |(_, over, millis)| (*over, *millis));
            gauge.set(if over == 0 { 0.0 } else { millis as f64 / 1_000.0 / over as f64 });
        }
        self.currencies.extend(seen.money.keys().cloned());
        for currency in &self.currencies {
            let (came, went) = seen.money.get(currency).copied().unwrap_or_default();
            for (way, minor) in [("in", came), ("back", went)] {
                metrics::gauge!("follow_today_money_minor", "currency" => currency.clone(), "way" => way)
                    .set(minor as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn each_number_is_shown_as_what_it_is_and_a_currency_of_yesterday_as_nothing() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let seen = Today {
            orders: Orders { accepted: 6, confirmed: 5, failed: 4, rejected: 3, cancelled: 2, delivered: 1 },
            money: [("EUR".to_owned(), (3_000, 400))].into(),
            stays: vec![(OrderStatus::Ready, 2, 90_000), (OrderStatus::Delivered, 9, 9)],
        };
        let shown = metrics::with_local_recorder(&recorder, || {
            let mut shown = Shown::new();
            shown.show(Today { money: [("USD".to_owned(), (700, 70))].into(), ..Today::default() });
            shown.show(seen);
            recorder.handle().render()
        });
        let mut lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("follow_")).collect();
        lines.sort_unstable();
        let expected = [
            r#"follow_stay_seconds{status="ACCEPTED"} 0"#,
            r#"follow_stay_seconds{status="CONFIRMED"} 0"#,
            r#"follow_stay_seconds{status="PAYMENT_PROCESSING"} 0"#,
            r#"follow_stay_seconds{status="PENDING"} 0"#,
            r#"follow_stay_seconds{status="PREPARING"} 0"#,
            r#"follow_stay_seconds{status="READY"} 45"#,
            r#"follow_today_money_minor{currency="EUR",way="back"} 400"#,
            r#"follow_today_money_minor{currency="EUR",way="in"} 3000"#,
            r#"follow_today_money_minor{currency="USD",way="back"} 0"#,
            r#"follow_today_money_minor{currency="USD",way="in"} 0"#,
            r#"follow_today_orders{what="accepted"} 6"#,
            r#"follow_today_orders{what="cancelled"} 2"#,
            r#"follow_today_orders{what="confirmed"} 5"#,
            r#"follow_today_orders{what="delivered"} 1"#,
            r#"follow_today_orders{what="failed"} 4"#,
            r#"follow_today_orders{what="rejected"} 3"#,
        ];
        assert_eq!(lines, expected);
    }
}
