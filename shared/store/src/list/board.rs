//! The orders that a restaurant's board shows, a few among millions that are over, or a million of their own. No index on their
//! status finds them (it would have to be written at each move, with every other index of the row), but what they wait for
//! does: a charge in the queue, a payment that is due, the kitchen's answer, or being handed over (`in_kitchen`).

use domain::order::status::OrderStatus;
use sqlx::PgConnection;
use uuid::Uuid;

use super::walk::Walk;
use super::{Counted, Filter, Found, Ids, MAX_COUNTED, MAX_LOOKED_AT, rows};

/// What is asked for, by where it is found.
pub(super) struct Board<'a> {
    filter: &'a Filter,
    /// Of charges in the queue: whether they have been claimed.
    began: Vec<bool>,
    /// Those that a payment leads to: held for later, paid and not answered, or being paid anew.
    by_payment: Vec<OrderStatus>,
    kitchen: Vec<OrderStatus>,
}

impl<'a> Board<'a> {
    /// `None`: other orders are asked for as well, or another key finds them.
    pub(super) fn of(filter: &'a Filter) -> Option<Self> {
        use OrderStatus::{Accepted, Confirmed, PaymentProcessing, Pending, Preparing, Ready};
        let wanted = |of: &[OrderStatus]| -> Vec<OrderStatus> {
            of.iter().copied().filter(|status| filter.statuses.contains(status)).collect()
        };
        let (queued, by_payment) =
            (wanted(&[Pending, PaymentProcessing]), wanted(&[Pending, Confirmed, PaymentProcessing]));
        let kitchen = wanted(&[Accepted, Preparing, Ready]);
        let open =
            |status| queued.contains(status) || by_payment.contains(status) || kitchen.contains(status);
        let elsewhere = filter.customer_id.is_some()
            || filter.channel.is_some()
            || !filter.locations.is_empty()
            || filter.fulfilment.is_some()
            || filter.updated_from.is_some();
        if elsewhere || filter.statuses.is_empty() || !filter.statuses.iter().all(open) {
            return None;
        }
        let began = queued.iter().map(|status| *status == PaymentProcessing).collect();
        Some(Self { filter, began, by_payment, kitchen })
    }

    /// Up to `wanted`, the newest of `range`; and how many there are in `all`.
    pub(super) async fn find_and_count(
        &self,
        conn: &mut PgConnection,
        range: Ids,
        all: Ids,
        wanted: usize,
    ) -> sqlx::Result<(Found, Counted)> {
        let led = self.led_to(conn, range, wanted).await?;
        let led_to = (led.count, led.newest.is_none());
        let found = self.find(conn, range, wanted, led).await?;
        let in_time = self.filter.from.is_some() || self.filter.to.is_some();
        let counted =
            if in_time { self.count_in_time(conn, all).await? } else { self.count(conn, led_to).await? };
        Ok((found, counted))
    }

    async fn find(
        &self,
        conn: &mut PgConnection,
        range: Ids,
        wanted: usize,
        led: Led,
    ) -> sqlx::Result<Found> {
        let mut found = Found::default();
        if !self.kitchen.is_empty() {
            found.ids = self.in_kitchen(conn, range, wanted).await?;
        }
        if !self.began.is_empty() {
            found.add(self.queued(conn, range, wanted).await?);
        }
        found.add(match led.newest {
            Some(ids) => Found { ids, down_to: None },
            // Too many to be sorted: then they are met soon among the newest.
            None => Walk::of_written(self.filter, &self.by_payment).find(conn, range, wanted).await?,
        });
        Ok(found.newest(wanted))
    }

    async fn count(&self, conn: &mut PgConnection, led_to: (i64, bool)) -> sqlx::Result<Counted> {
        let mut counted = Counted { orders: 0, capped: false };
        counted.add(led_to.0, led_to.1);
        if !self.kitchen.is_empty() {
            counted.add(self.count_in_kitchen(conn).await?, false);
        }
        if !self.began.is_empty() {
            let (matching, seen) = self.count_queued(conn).await?;
            counted.add(matching, self.began.len() == 1 && seen == rows(MAX_LOOKED_AT));
        }
        Ok(counted)
    }

    /// Of those at the ends of the time that is asked for the order itself has to be looked at.
    async fn count_in_time(&self, conn: &mut PgConnection, all: Ids) -> sqlx::Result<Counted> {
        let most = MAX_COUNTED + 1;
        let led = self.led_to(conn, all, most).await?;
        let found = self.find(conn, all, most, led).await?;
        let surely = self.filter.surely();
        let at_the_ends: Vec<Uuid> =
            found.ids.iter().copied().filter(|id| *id < surely.from || *id >= surely.before).collect();
        let others = sqlx::query_scalar!(
            r#"SELECT count(*) AS "others!" FROM orders WHERE id = ANY($1)
               AND (created_at < coalesce($2::timestamptz, '-infinity') OR created_at >= coalesce($3::timestamptz, 'infinity'))"#,
            &at_the_ends,
            self.filter.from,
            self.filter.to
        )
        .fetch_one(conn)
        .await?;
        let mut counted = Counted { orders: 0, capped: false };
        counted.add(rows(found.ids.len()) - others, found.down_to.is_some() || found.ids.len() == most);
        Ok(counted)
    }

    /// Of each status the newest: they are keyed by both.
    async fn in_kitchen(
        &self,
        conn: &mut PgConnection,
        range: Ids,
        wanted: usize,
    ) -> sqlx::Result<Vec<Uuid>> {
        sqlx::query_scalar!(
            r#"SELECT k.order_id FROM unnest($1::order_status[]) wanted(status) CROSS JOIN LATERAL (
                   SELECT order_id FROM in_kitchen
                   WHERE status = wanted.status AND order_id < $2 AND order_id >= $3 ORDER BY order_id DESC LIMIT $4) k"#,
            &self.kitchen as &[OrderStatus],
            range.before,
            range.from,
            rows(wanted)
        )
        .fetch_all(conn)
        .await
    }

    async fn count_in_kitchen(&self, conn: &mut PgConnection) -> sqlx::Result<i64> {
        sqlx::query_scalar!(
            r#"SELECT count(*) AS "orders!" FROM (SELECT FROM in_kitchen WHERE status = ANY($1) LIMIT $2) k"#,
            &self.kitchen as &[OrderStatus],
            rows(MAX_COUNTED) + 1
        )
        .fetch_one(conn)
        .await
    }

    /// The newest of the queue.
    async fn queued(&self, conn: &mut PgConnection, range: Ids, wanted: usize) -> sqlx::Result<Found> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM (
                 SELECT id, began_at IS NOT NULL AS began FROM open_charges WHERE id < $1 AND id >= $2
                 ORDER BY id DESC LIMIT $3) seen
             WHERE began = ANY($4) ORDER BY id DESC LIMIT $5",
            range.before,
            range.from,
            rows(MAX_LOOKED_AT),
            &self.began,
            rows(wanted)
        )
        .fetch_all(&mut *conn)
        .await?;
        if ids.len() == wanted || self.began.len() == 2 {
            return Ok(Found { ids, down_to: None });
        }
        let down_to = sqlx::query_scalar!(
            "SELECT id FROM open_charges WHERE id < $1 AND id >= $2 ORDER BY id DESC LIMIT 1 OFFSET $3",
            range.before,
            range.from,
            rows(MAX_LOOKED_AT) - 1
        )
        .fetch_optional(conn)
        .await?;
        Ok(Found { ids, down_to })
    }

    /// How many of the newest in the queue match, and how many were seen.
    async fn count_queued(&self, conn: &mut PgConnection) -> sqlx::Result<(i64, i64)> {
        let counted = sqlx::query!(
            r#"SELECT count(*) FILTER (WHERE began = ANY($1)) AS "matching!", count(*) AS "seen!" FROM (
                   SELECT began_at IS NOT NULL AS began FROM open_charges ORDER BY id DESC LIMIT $2) seen"#,
            &self.began,
            rows(MAX_LOOKED_AT)
        )
        .fetch_one(conn)
        .await?;
        Ok((counted.matching, counted.seen))
    }

    /// The newest that a payment leads to, one that waits for the kitchen's answer or for its time, or one that is due.
    async fn led_to(&self, conn: &mut PgConnection, range: Ids, wanted: usize) -> sqlx::Result<Led> {
        if self.by_payment.is_empty() {
            return Ok(Led { count: 0, newest: Some(Vec::new()) });
        }
        let has = |status| self.by_payment.contains(&status);
        // In the order of the partial indexes: only they can serve it.
        let led = sqlx::query!(
            r#"
            WITH confirmed AS MATERIALIZED (
                SELECT order_id FROM payments WHERE $1 AND answer_by IS NOT NULL ORDER BY answer_by LIMIT $3
            ), due AS MATERIALIZED (
                SELECT order_id, decides(payments) AS anew
                FROM payments WHERE $2 AND due_at IS NOT NULL ORDER BY due_at LIMIT $3
            ), later AS MATERIALIZED (
                SELECT order_id FROM payments WHERE $7 AND status = 'held' AND held_until IS NOT NULL ORDER BY held_until LIMIT $3
            ), led AS MATERIALIZED (
                SELECT order_id FROM confirmed UNION ALL SELECT order_id FROM due WHERE anew UNION ALL TABLE later
            )
            SELECT (SELECT count(*) FROM led) AS "count!",
                greatest((SELECT count(*) FROM confirmed), (SELECT count(*) FROM due), (SELECT count(*) FROM later)) AS "most!",
                ARRAY(SELECT order_id FROM led WHERE order_id < $4 AND order_id >= $5 ORDER BY order_id DESC LIMIT $6)
                    AS "newest!"
            "#,
            has(OrderStatus::Confirmed),
            has(OrderStatus::PaymentProcessing),
            rows(MAX_COUNTED) + 1,
            range.before,
            range.from,
            rows(wanted),
            has(OrderStatus::Pending)
        )
        .fetch_one(conn)
        .await?;
        Ok(Led { count: led.count, newest: (led.most <= rows(MAX_COUNTED)).then_some(led.newest) })
    }
}

/// What payments lead to.
struct Led {
    count: i64,
    /// `None`: there are more than are looked at.
    newest: Option<Vec<Uuid>>,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.down_to = self.down_to.max(other.down_to);
    }

    /// The newest of what was found at several places: no further down than was looked at each.
    fn newest(mut self, wanted: usize) -> Self {
        self.ids.sort_unstable_by(|one, other| other.cmp(one));
        self.ids.dedup();
        self.ids.retain(|id| self.down_to.is_none_or(|down_to| *id >= down_to));
        self.ids.truncate(wanted);
        self
    }
}

impl Counted {
    fn add(&mut self, orders: i64, capped: bool) {
        self.orders += usize::try_from(orders).unwrap_or(0);
        self.capped |= capped || self.orders > MAX_COUNTED;
        self.orders = self.orders.min(MAX_COUNTED);
    }
}
