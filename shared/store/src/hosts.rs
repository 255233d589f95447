//! A database's URL, which may name several servers as libpq's does (`postgres://u:p@h1:5432,h2:5433/db`): sqlx knows one.
//! And how far each server is believed: one on another machine has to prove who it is before it gets a password.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

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
    let authority = parts.said("sslrootcert");
    if let Some(file) = authority {
        std::fs::File::open(file).with_context(|| format!("cannot read sslrootcert={file}"))?;
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
            let options = options(&format!("{}{host}{after}", parts.before))?;
            guarded(options, authority.is_some())
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

/// Another machine's certificate is verified, unless the URL (or `PGSSLMODE`) says how else it is to be. What is neither safe
/// nor admits it is refused: whoever is in between would be given the password.
fn guarded(options: PgConnectOptions, names_authority: bool) -> Result<PgConnectOptions> {
    if is_local(&options) {
        return Ok(options);
    }
    match options.get_ssl_mode() {
        // sqlx's own word where nothing is said.
        PgSslMode::Prefer => Ok(options.ssl_mode(PgSslMode::VerifyFull)),
        // As with libpq: an authority that is named is asked.
        PgSslMode::Require if names_authority => Ok(options.ssl_mode(PgSslMode::VerifyCa)),
        PgSslMode::Allow => bail!(
            "sslmode=allow would send the password to {} in the clear: say verify-full, or disable where the network is your own",
            place(&options)
        ),
        _ => Ok(options),
    }
}

/// Whether nobody can be in between: a socket, or this machine's own addresses.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let name = host.trim_start_matches('[').trim_end_matches(']');
    options.get_socket().is_some()
        || Path::new(host).is_absolute()
        || host.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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
        self.said(WISH)
    }

    fn said(&self, name: &str) -> Option<&str> {
        let (_, query) = self.after.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
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
            assert!(matches!(one.get_ssl_mode(), PgSslMode::Disable));
        }
    }

    #[test]
    fn another_machine_has_to_prove_who_it_is() {
        use PgSslMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};
        let authority = concat!("sslrootcert=", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let anyone = format!("postgres://far/db?sslmode=require&{authority}");
        let own = format!("postgres://far/db?{authority}");
        for (url, expected) in [
            ("postgres://u:p@127.0.0.1/db", Prefer),
            ("postgres://u:p@localhost:5433/db", Prefer),
            ("postgres://u:p@[::1]/db", Prefer),
            ("postgres://%2Fvar%2Frun%2Fpostgresql/db", Prefer),
            ("postgres:///db?host=/var/run/postgresql", Prefer),
            ("postgres://127.0.0.1/db?sslmode=verify-full", VerifyFull),
            ("postgres://u:p@far/db", VerifyFull),
            ("postgres://u:p@10.0.0.7/db", VerifyFull),
            ("postgres://u:p@localhost.example.com/db", VerifyFull),
            ("postgres://localhost/db?host=far", VerifyFull),
            ("postgres://far/db?sslmode=prefer", VerifyFull),
            ("postgres://far/db?sslmode=disable", Disable),
            ("postgres://far/db?sslmode=require", Require),
            (&anyone, VerifyCa),
            (&own, VerifyFull),
        ] {
            let mode = hosts(url).unwrap()[0].get_ssl_mode();
            assert_eq!(format!("{mode:?}"), format!("{expected:?}"), "{url}");
        }
        let both = hosts("postgres://localhost,far/db").unwrap();
        assert!(matches!(both[0].get_ssl_mode(), Prefer) && matches!(both[1].get_ssl_mode(), VerifyFull));
        for (wrong, word) in [
            ("postgres://u:secret@far/db?sslmode=allow", "in the clear"),
            ("postgres://u:secret@far/db?sslrootcert=/no/such", "sslrootcert=/no/such"),
        ] {
            let error = format!("{:#}", hosts(wrong).unwrap_err());
            assert!(error.contains(word) && !error.contains("secret"), "{error}");
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
