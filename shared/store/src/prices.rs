//! prices: what a channel's articles cost where its orders do not say. One list a channel, in one currency, replaced as a
//! whole.

use domain::channel::name::ChannelName;
use domain::channel::price_list::PriceList;
use domain::money::currency_of;
use sqlx::{Connection, PgConnection};

use super::read::money;

/// Of a channel's list, the prices of `plus`; and its currency, even if none of them is on it.
pub async fn of(conn: &mut PgConnection, channel: &ChannelName, plus: &[String]) -> sqlx::Result<PriceList> {
    let rows = sqlx::query!(
        r#"SELECT list.currency, p.plu AS "plu?", p.price_minor AS "price_minor?"
           FROM (SELECT currency FROM prices WHERE channel = $1 LIMIT 1) list
           LEFT JOIN prices p ON p.channel = $1 AND p.plu = ANY($2)"#,
        channel.as_str(),
        plus
    )
    .fetch_all(conn)
    .await?;
    let mut list = PriceList::default();
    for row in rows {
        list.currency = currency_of(&row.currency);
        if let (Some(plu), Some(minor)) = (row.plu, row.price_minor) {
            list.prices.insert(plu, money(minor, &row.currency)?);
        }
    }
    Ok(list)
}

/// A channel's whole list.
pub async fn all(conn: &mut PgConnection, channel: &ChannelName) -> sqlx::Result<PriceList> {
    let rows =
        sqlx::query!("SELECT plu, price_minor, currency FROM prices WHERE channel = $1", channel.as_str())
            .fetch_all(conn)
            .await?;
    let mut list = PriceList::default();
    for row in rows {
        list.currency = currency_of(&row.currency);
        list.prices.insert(row.plu, money(row.price_minor, &row.currency)?);
    }
    Ok(list)
}

/// Replaces a channel's list. Whoever else does so waits, or two lists would become one; readers see the old one or the new.
pub async fn replace(conn: &mut PgConnection, channel: &ChannelName, list: &PriceList) -> sqlx::Result<()> {
    let (plus, prices): (Vec<String>, Vec<i64>) =
        list.prices.iter().map(|(plu, price)| (plu.clone(), price.minor())).unzip();
    let mut tx = conn.begin().await?;
    sqlx::query!("LOCK TABLE prices IN SHARE ROW EXCLUSIVE MODE").execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM prices WHERE channel = $1", channel.as_str()).execute(&mut *tx).await?;
    sqlx::query!(
        "INSERT INTO prices (channel, plu, price_minor, currency)
         SELECT $1, plu, price, $4 FROM unnest($2::text[], $3::bigint[]) AS list(plu, price)",
        channel.as_str(),
        &plus,
        &prices,
        list.currency.map_or("", |currency| currency.code())
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}
