//! A database's URL, which may name several servers as libpq's does (`postgres://u:p@h1:5432,h2:5433/db`): sqlx knows one.

use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

/// What libpq calls the wish for a primary. It is what we look for anyway, so both words may stand in a URL.
const WISH: &str = "target_session_attrs";
const PRIMARY: [&str; 2] = ["primary", "read-write"];

/// How to reach each server that `url` names, in its order.
pub fn hosts(url: &str) -> Result<Vec<PgConnectOptions>> {
    let parts = Parts::of(url).unwrap_or(Parts { before: "", hosts: "", after: url.to_owned() });
    if let Some(wish) = parts.wish()
        && !PRIMARY.contains(&wish)
    {
        bail!("of {WISH} a database's URL may say `read-write` and nothing else: the primary is looked for");
    }
    let after = parts.without_wish();
    parts
        .hosts
        .split(',')
        .map(|host| {
            ensure!(
                !host.is_empty() || !parts.hosts.contains(','),
                "a database's URL names a host without a name"
            );
            options(&format!("{}{host}{after}", parts.before))
        })
        .collect()
}

fn options(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url).map_err(|_| {
        anyhow::anyhow!(
            "DATABASE_URL is no URL such as postgres://user:password@host:5432/comanda, or with host:5432,other:5432"
        )
    })?;
    // Poolers refuse to be told of floats in the first packet, and the server's own default is as exact.
    Ok(options.extra_float_digits(None).log_statements(tracing::log::LevelFilter::Trace))
}

/// A URL around its hosts.
struct Parts<'a> {
    /// `postgres://user:password@`
    before: &'a str,
    /// `h1:5432,h2:5433`
    hosts: &'a str,
    /// `/db?sslmode=..`
    after: String,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let begin = url.find("://")? + 3;
        let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |at| begin + at);
        let hosts = url[begin..end].rfind('@').map_or(begin, |at| begin + at + 1);
        Some(Self { before: &url[..hosts], hosts: &url[hosts..end], after: url[end..].to_owned() })
    }

    fn wish(&self) -> Option<&str> {
        let (_, query) = self.after.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(WISH)?.strip_prefix('='))
    }

    /// sqlx would warn of a word that it does not know.
    fn without_wish(&self) -> String {
        let Some((path, query)) = self.after.split_once('?') else { return self.after.clone() };
        let others: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(WISH)).collect();
        if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) }
    }
}

/// As operators know it; without user and password.
pub(crate) fn place(host: &PgConnectOptions) -> String {
    match host.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", host.get_host(), host.get_port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(url: &str) -> Vec<String> {
        hosts(url).unwrap().iter().map(place).collect()
    }

    #[test]
    fn one_host_or_several() {
        assert_eq!(places("postgres://u:p@h1/db"), ["h1:5432"]);
        assert_eq!(places("postgres://u:p@h1:5433,h2,[::1]:5434/db"), ["h1:5433", "h2:5432", "[::1]:5434"]);
        let both =
            hosts("postgres://u:p%2Cx@h1,h2:1/db?sslmode=disable&target_session_attrs=read-write").unwrap();
        for one in both {
            assert_eq!((one.get_username(), one.get_database()), ("u", Some("db")));
            assert!(matches!(one.get_ssl_mode(), sqlx::postgres::PgSslMode::Disable));
        }
    }

    #[test]
    fn what_is_no_url_is_told_without_its_password() {
        for wrong in ["", "h1,h2", "postgres://u:secret@h1,,h2/db", "postgres://u:secret@h1:port,h2/db"] {
            let error = format!("{:#}", hosts(wrong).unwrap_err());
            assert!(!error.contains("secret"), "{wrong}: {error}");
        }
        assert!(hosts("postgres://h1,h2/db?target_session_attrs=standby").is_err());
    }
}
