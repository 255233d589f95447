//! Card numbers, told by their check digits: none is in any log, any table or the queue, though clients put some where none belongs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use futures_util::TryStreamExt;
use reqwest::Client;
use sqlx::PgConnection;
use testbed::{CARDS, cards};

use super::Check;

/// Between two mistakes.
const PAUSE: Duration = Duration::from_millis(200);
/// With an api that is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sends cards where none belongs, to one api after the other, for as long as the run lasts; whatever becomes of it.
pub(crate) async fn misplace(http: &Client, apis: &[SocketAddr], token: &str) -> ! {
    let mut turn = 0;
    loop {
        let (api, card) = (apis[turn % apis.len()], CARDS[turn % CARDS.len()]);
        let url = format!("http://{api}/api/v1/orders");
        let path = card.replace(' ', "%20");
        let sent = match turn % 5 {
            0 => http.post(&url).body(format!("{{\"customer_id\":\"a\",\"card\":\"{card}\"}}")),
            1 => http.post(&url).body(format!("{{\"customer_id\":7,\"items\":\"{card}\"")),
            2 => http.get(format!("{url}/{path}/history")),
            3 => http.get(format!("{url}?card={path}&cursor={path}")),
            _ => http.post(&url).header("if-match", card).header("cookie", format!("card={card}")),
        };
        let sent = sent.bearer_auth(token).header("content-type", "application/json").timeout(PATIENCE);
        // An api that is just being killed answers nothing.
        drop(sent.send().await);
        turn += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks for them in each file of the run's folder, and in each row of each table.
pub(crate) async fn check(conn: &mut PgConnection, logs: &Path) -> Result<Check> {
    let mut check = Check::new("no card number is in any log, table or message");
    for entry in std::fs::read_dir(logs)? {
        let path = entry?.path();
        if !path.is_file() {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        for line in text.lines() {
            look(&mut check, &path.display().to_string(), line);
        }
    }
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE'",
    )
    .fetch_all(&mut *conn)
    .await?;
    for table in tables {
        let rows = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
        let mut rows = sqlx::query_scalar::<_, String>(rows).fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            look(&mut check, &table, &row);
        }
    }
    Ok(check)
}

/// Where it is, and never which: a report is read by many.
fn look(check: &mut Check, place: &str, text: &str) {
    let found = cards(text).len();
    check.look(found == 0, || format!("{found} in {place}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_in_a_line_is_told_by_its_place_alone() {
        let mut check = Check::new("");
        look(&mut check, "api.log", "order 01995f1c-7a3e-7c40-8d15-2f7a9b63c0de 12.99");
        look(&mut check, "api.log", &format!("body {{\"card\":\"{}\"}}", CARDS[0]));
        assert_eq!((check.checked, check.violated), (2, 1));
        assert_eq!(check.examples, ["1 in api.log"]);
    }
}
