//! A walk over orders from the newest on, along the key that fits: all of them, a customer's, a channel's, a location's, those that
//! have details. What the key does not
//! say is looked at order by order, and no further than so many.

use domain::location::MAIN;
use domain::order::status::OrderStatus;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{Counted, Filter, Found, Ids, MAX_COUNTED, MAX_LOOKED_AT, MAX_SCATTERED, rows};

/// What is walked along, and what is looked for. A statement has a condition for each filter that is given and for no other, so
/// that each shape has a plan of its own; all that comes from outside is bound.
pub(super) struct Walk<'a> {
    filter: &'a Filter,
    statuses: &'a [OrderStatus],
    /// Where orders are looked at.
    table: &'static str,
    along: Along<'a>,
}

enum Along<'a> {
    All,
    Customer(&'a str),
    Channel(&'a str),
    /// Not the first one, where most orders are.
    Location(&'a str),
    /// Those that say how they are handed over.
    Details,
}

impl<'a> Walk<'a> {
    pub(super) fn new(filter: &'a Filter) -> Self {
        let has = |status| filter.statuses.contains(&status);
        // Where one of the two is asked for, what is written with an order does not say whether it matches.
        let told = has(OrderStatus::Pending) == has(OrderStatus::PaymentProcessing);
        let along = match (&filter.channel, &filter.customer_id) {
            (Some(channel), _) => Along::Channel(channel.as_str()),
            (None, Some(customer)) => Along::Customer(customer),
            (None, None) => match &filter.locations[..] {
                [one] if one != MAIN => Along::Location(one),
                _ if filter.fulfilment.is_some() => Along::Details,
                _ => Along::All,
            },
        };
        let table = if told { "orders" } else { "shown_orders" };
        Self { filter, statuses: &filter.statuses, table, along }
    }

    /// The same for those that stand at `statuses`, as it is written with them.
    pub(super) fn of_written(filter: &'a Filter, statuses: &'a [OrderStatus]) -> Self {
        Self { statuses, table: "orders", ..Self::new(filter) }
    }

    /// Up to `wanted` that match, the newest of `range`.
    pub(super) async fn find(
        &self,
        conn: &mut PgConnection,
        range: Ids,
        wanted: usize,
    ) -> sqlx::Result<Found> {
        let most = if self.is_picky() { self.most() } else { wanted };
        let mut query = QueryBuilder::new("SELECT id FROM (");
        self.seen(&mut query, range, most, self.is_picky());
        query.push(") seen WHERE ");
        self.matching(&mut query);
        query.push(" ORDER BY ").push(self.order()).push(" LIMIT ").push_bind(rows(wanted));
        let ids: Vec<Uuid> = query.build_query_scalar().fetch_all(&mut *conn).await?;
        if ids.len() == wanted || !self.is_picky() {
            return Ok(Found { ids, down_to: None });
        }
        let mut query = QueryBuilder::new("SELECT id FROM (");
        self.seen(&mut query, range, most, false);
        query.push(") seen ORDER BY ").push(self.order());
        query.push(" LIMIT 1 OFFSET ").push_bind(rows(most) - 1);
        let down_to = query.build_query_scalar().fetch_optional(conn).await?;
        Ok(Found { ids, down_to })
    }

    /// How many are looked at, where not each of them matches: fewer where something else has to be looked up for each.
    fn most(&self) -> usize {
        let Filter { fulfilment, updated_from, .. } = self.filter;
        let alone = fulfilment.is_none() && (updated_from.is_none() || self.table == "orders");
        if matches!(self.along, Along::All) && alone { MAX_LOOKED_AT } else { MAX_SCATTERED }
    }

    /// How many of `range` match.
    pub(super) async fn count(&self, conn: &mut PgConnection, range: Ids) -> sqlx::Result<Counted> {
        let most = if self.is_picky() { self.most() } else { MAX_COUNTED + 1 };
        let mut query = QueryBuilder::new("SELECT count(*) FILTER (WHERE ");
        self.matching(&mut query);
        query.push("), count(*) FROM (");
        self.seen(&mut query, range, most, self.is_picky());
        query.push(") seen");
        let (matching, seen): (i64, i64) = query.build_query_as().fetch_one(conn).await?;
        let matching = usize::try_from(matching).unwrap_or(0);
        let capped = matching > MAX_COUNTED || seen == rows(most);
        Ok(Counted { orders: matching.min(MAX_COUNTED), capped })
    }

    /// Whether not every order that is met matches.
    fn is_picky(&self) -> bool {
        let Filter { customer_id, from, to, fulfilment, updated_from, .. } = self.filter;
        let more = fulfilment.is_some() || updated_from.is_some();
        let by_both = customer_id.is_some() && matches!(self.along, Along::Channel(_));
        by_both
            || more
            || self.minds_location()
            || !self.statuses.is_empty()
            || from.is_some()
            || to.is_some()
    }

    /// Whether the location is not said by what is walked along.
    fn minds_location(&self) -> bool {
        !self.filter.locations.is_empty() && !matches!(self.along, Along::Location(_))
    }

    /// The newest `most` of `range`, with what decides whether they match, where that is asked for.
    ///
    /// Rows are compared, not the customer alone, and the order names the customer, too: so only the index of a customer's orders
    /// will do. Else the planner walks over everybody's, as soon as it takes a customer for a frequent one.
    fn seen(&self, query: &mut QueryBuilder<Postgres>, range: Ids, most: usize, with_orders: bool) {
        let (key, id) = match self.along {
            Along::All => ("", "o.id"),
            Along::Customer(_) => ("o.customer_id AS key, ", "o.id"),
            Along::Channel(_) => ("d.channel AS key, ", "d.order_id"),
            Along::Location(_) => ("o.location AS key, ", "o.id"),
            Along::Details => ("", "d.order_id"),
        };
        query.push("SELECT ").push(key).push(id).push(" AS id");
        if with_orders {
            query.push(", o.status, o.created_at, o.updated_at, o.customer_id, o.location");
            if self.filter.fulfilment.is_some() {
                query.push(", d.handover ->> 'fulfilment' AS fulfilment");
            }
        }
        self.source(query, with_orders);
        match self.along {
            Along::All => {
                query.push(" WHERE o.id < ").push_bind(range.before);
                query.push(" AND o.id >= ").push_bind(range.from);
                query.push(" ORDER BY o.id DESC");
            }
            Along::Details => {
                query.push(" WHERE d.order_id < ").push_bind(range.before);
                query.push(" AND d.order_id >= ").push_bind(range.from);
                query.push(" ORDER BY d.order_id DESC");
            }
            Along::Customer(customer) => {
                query.push(" WHERE (o.customer_id, o.id) < (").push_bind(customer);
                query.push(", ").push_bind(range.before);
                query.push(") AND (o.customer_id, o.id) >= (").push_bind(customer);
                query.push(", ").push_bind(range.from).push(") ORDER BY o.customer_id DESC, o.id DESC");
            }
            Along::Location(location) => {
                query.push(" WHERE (o.location, o.id) < (").push_bind(location);
                query.push(", ").push_bind(range.before);
                query.push(") AND (o.location, o.id) >= (").push_bind(location);
                query.push(", ").push_bind(range.from);
                query.push(") AND o.location <> 'main' ORDER BY o.location DESC, o.id DESC");
            }
            Along::Channel(channel) => {
                // (The last condition is that of the partial index.)
                query.push(" WHERE (d.channel, d.order_id) < (").push_bind(channel);
                query.push(", ").push_bind(range.before);
                query.push(") AND (d.channel, d.order_id) >= (").push_bind(channel);
                query.push(", ").push_bind(range.from);
                query.push(") AND d.channel IS NOT NULL ORDER BY d.channel DESC, d.order_id DESC");
            }
        }
        query.push(" LIMIT ").push_bind(rows(most));
    }

    /// Where what is walked along stands, and with it what else decides. (OFFSET 0: looked up for each order, and never joined.)
    fn source(&self, query: &mut QueryBuilder<Postgres>, with_orders: bool) {
        match self.along {
            Along::Channel(_) | Along::Details => {
                query.push(" FROM order_details d");
                if with_orders {
                    query.push(" JOIN ").push(self.table).push(" o ON o.id = d.order_id");
                }
            }
            Along::All | Along::Customer(_) | Along::Location(_) => {
                query.push(" FROM ").push(self.table).push(" o");
                if with_orders && self.filter.fulfilment.is_some() {
                    let details = "SELECT handover FROM order_details WHERE order_id = o.id OFFSET 0";
                    query.push(" LEFT JOIN LATERAL (").push(details).push(") d ON true");
                }
            }
        }
    }

    /// As what was seen comes anyway: nothing has to be sorted, or to be seen to the end.
    fn order(&self) -> &'static str {
        if matches!(self.along, Along::All | Along::Details) { "id DESC" } else { "key DESC, id DESC" }
    }

    fn matching(&self, query: &mut QueryBuilder<Postgres>) {
        let Filter { customer_id, from, to, fulfilment, updated_from, .. } = self.filter;
        query.push("true");
        if let (Some(customer), Along::Channel(_)) = (customer_id, &self.along) {
            query.push(" AND customer_id = ").push_bind(customer);
        }
        if self.minds_location() {
            query.push(" AND location = ANY(").push_bind(&self.filter.locations).push(")");
        }
        if !self.statuses.is_empty() {
            query.push(" AND status = ANY(").push_bind(self.statuses).push(")");
        }
        if let Some(fulfilment) = fulfilment {
            query.push(" AND fulfilment = ").push_bind(fulfilment.as_str());
        }
        if let Some(from) = updated_from {
            query.push(" AND updated_at >= ").push_bind(*from);
        }
        if let Some(from) = from {
            query.push(" AND created_at >= ").push_bind(*from);
        }
        if let Some(to) = to {
            query.push(" AND created_at < ").push_bind(*to);
        }
    }
}
