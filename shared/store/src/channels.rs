//! channels: how they speak, and the secrets that they sign with, sealed. Read at each of their orders, so that what was set
//! holds at once at every api.

use std::collections::BTreeMap;

use domain::channel::dialect::Dialect;
use domain::channel::name::ChannelName;
use domain::channel::settings::{ChannelSettings, Unit};
use domain::location::MAIN;
use domain::money::currency_of;
use domain::order::status::OrderStatus;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// A channel of which something is set.
#[derive(Debug, Clone)]
pub struct Channel {
    /// How it speaks.
    pub settings: ChannelSettings,
    /// What it signs with, sealed.
    pub secrets: Vec<Vec<u8>>,
    /// When that was last changed.
    pub updated_at: OffsetDateTime,
    /// By whom.
    pub updated_by: String,
}

struct Row {
    dialect: String,
    currency: Option<String>,
    digits: Option<i16>,
    decimals: bool,
    unique_days: Option<i16>,
    locations: Json<BTreeMap<String, String>>,
    by_plu: bool,
    secrets: Vec<Vec<u8>>,
    updated_at: OffsetDateTime,
    updated_by: String,
}

impl TryFrom<Row> for Channel {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let unknown = |what: &str| sqlx::Error::Decode(format!("a channel of an unknown {what}").into());
        let dialect = Dialect::of_name(&row.dialect).ok_or_else(|| unknown("dialect"))?;
        let currency = |code: String| currency_of(&code).ok_or_else(|| unknown("currency"));
        let unit = match (row.decimals, row.digits.map(u8::try_from)) {
            (true, _) => Unit::Decimals,
            (false, Some(Ok(digits))) => Unit::Minor(digits),
            (false, _) => Unit::Dialects,
        };
        let settings = ChannelSettings {
            dialect,
            currency: row.currency.map(currency).transpose()?,
            unit,
            unique_days: row.unique_days.and_then(|days| days.try_into().ok()),
            locations: row.locations.0,
            products_by_plu: row.by_plu,
        };
        let Row { secrets, updated_at, updated_by, .. } = row;
        Ok(Self { settings, secrets, updated_at, updated_by })
    }
}

/// What is set for a channel; `None`: nothing is.
pub async fn find(conn: &mut PgConnection, name: &ChannelName) -> sqlx::Result<Option<Channel>> {
    sqlx::query_as!(
        Row,
        r#"SELECT dialect, currency, digits, decimals, unique_days, locations AS "locations: Json<BTreeMap<String, String>>",
               by_plu, secrets, updated_at, updated_by
           FROM channels WHERE name = $1"#,
        name.as_str()
    )
    .fetch_optional(conn)
    .await?
    .map(Channel::try_from)
    .transpose()
}

/// Sets what is set for a channel, as a whole; `None` of secrets leaves them as they are.
pub async fn replace(
    conn: &mut PgConnection,
    name: &ChannelName,
    settings: &ChannelSettings,
    secrets: Option<&[Vec<u8>]>,
    by: &str,
) -> sqlx::Result<Channel> {
    let digits = if let Unit::Minor(digits) = settings.unit { Some(i16::from(digits)) } else { None };
    sqlx::query_as!(
        Row,
        r#"INSERT INTO channels (name, dialect, currency, digits, decimals, unique_days, locations, secrets, updated_by, by_plu)
           VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8::bytea[], '{}'::bytea[]), $9, $10)
           ON CONFLICT (name) DO UPDATE SET dialect = excluded.dialect, currency = excluded.currency,
               digits = excluded.digits, decimals = excluded.decimals, unique_days = excluded.unique_days,
               locations = excluded.locations, secrets = coalesce($8::bytea[], channels.secrets),
               updated_at = now(), updated_by = excluded.updated_by, by_plu = excluded.by_plu
           RETURNING dialect, currency, digits, decimals, unique_days,
               locations AS "locations: Json<BTreeMap<String, String>>", by_plu, secrets, updated_at, updated_by"#,
        name.as_str(),
        settings.dialect.name(),
        settings.currency.map(|currency| currency.code()),
        digits,
        settings.unit == Unit::Decimals,
        settings.unique_days.and_then(|days| i16::try_from(days).ok()),
        Json(&settings.locations) as _,
        secrets as Option<&[Vec<u8>]>,
        by,
        settings.products_by_plu
    )
    .fetch_one(conn)
    .await?
    .try_into()
}

/// Nothing is set for a channel any more. Says whether something was. Its price list stays.
pub async fn remove(conn: &mut PgConnection, name: &ChannelName) -> sqlx::Result<bool> {
    let gone = sqlx::query!("DELETE FROM channels WHERE name = $1", name.as_str()).execute(conn).await?;
    Ok(gone.rows_affected() == 1)
}

/// All secrets of all channels, by the channels' names.
pub async fn sealed(conn: &mut PgConnection) -> sqlx::Result<Vec<(String, Vec<Vec<u8>>)>> {
    let rows =
        sqlx::query!("SELECT name, secrets FROM channels WHERE cardinality(secrets) > 0 ORDER BY name")
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.secrets)).collect())
}

/// Stores the same secrets sealed otherwise, where they are still those that were read. Says whether they are.
pub async fn reseal(
    conn: &mut PgConnection,
    name: &str,
    was: &[Vec<u8>],
    sealed: &[Vec<u8>],
) -> sqlx::Result<bool> {
    let done =
        sqlx::query!("UPDATE channels SET secrets = $3 WHERE name = $1 AND secrets = $2", name, was, sealed)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// The order that a channel calls so, and where it stands. Each location has numbers of its own: of several the newest.
pub async fn named(
    conn: &mut PgConnection,
    channel: &ChannelName,
    order_id: &str,
) -> sqlx::Result<Option<(Uuid, OrderStatus)>> {
    let row = sqlx::query!(
        r#"SELECT o.id AS "id!", o.status AS "status!: OrderStatus"
           FROM names n CROSS JOIN LATERAL (SELECT id, status FROM shown_orders WHERE id = n.named OFFSET 0) o
           WHERE n.kind = 'channel_order' AND n.scope = ANY($1) AND n.name = $2
           ORDER BY n.named DESC LIMIT 1"#,
        &scopes(conn, channel).await?,
        order_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.id, row.status)))
}

/// Within which a channel's numbers are given: at each location anew.
pub(crate) async fn scopes(conn: &mut PgConnection, channel: &ChannelName) -> sqlx::Result<Vec<String>> {
    let elsewhere =
        sqlx::query_scalar!("SELECT id FROM locations WHERE id <> $1", MAIN).fetch_all(conn).await?;
    let elsewhere = elsewhere.iter().map(|location| channel.scope(Some(location)));
    Ok(std::iter::once(channel.scope(None)).chain(elsewhere).collect())
}
