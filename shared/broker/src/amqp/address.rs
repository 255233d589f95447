//! `AMQP_URL`: which brokers it names, and whether the way to them is safe. lapin knows one host in a URL, and takes
//! `[::1]` for `localhost`.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lapin::tcp::{AMQPUriTcpExt, RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::{Host, Url};

/// Seconds between heartbeats, where the URL says nothing: a silent peer is dead after twenty.
const HEARTBEAT: u16 = 10;
/// Longest wait for a TCP connection and TLS: what gives up later would keep its thread for minutes.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const NO_URL: &str =
    "AMQP_URL is no URL such as amqps://user:password@host:5671/%2f, or with host:5671,other:5671";

/// How to reach one broker.
#[derive(Clone)]
pub(super) struct Address {
    uri: AMQPUri,
    tls: Option<RustlsConnector>,
}

/// How to reach each broker that `url` names, in its order. What is wrong is told without quoting it: a host that is
/// none may be half a password.
pub(super) fn addresses(url: &str) -> Result<Vec<Address>> {
    let (before, hosts, after) = split(url).context(NO_URL)?;
    let any = format!("{before}host{after}");
    let scheme = parse(&any).context(NO_URL)?.scheme;
    let wishes = Wishes::of(&Url::parse(&any)?)?;
    let tls = wishes.tls(&scheme)?;
    let is_list = hosts.contains(',');
    let address = |(place, host): (usize, &str)| {
        let number = place + 1;
        let uri = parse(&format!("{before}{host}{after}")).filter(|_| !(is_list && host.is_empty()));
        let uri =
            uri.with_context(|| format!("host {number} of AMQP_URL is none such as rabbitmq.example:5671"))?;
        ensure!(
            tls.is_some() || wishes.plain || is_loopback(&uri.authority.host),
            "host {number} of AMQP_URL is not this machine, and amqp:// would send the password and all messages in the \
             clear: use amqps://, or add ?tls=off if that is meant"
        );
        Ok(Address { uri, tls: tls.clone() })
    };
    hosts.split(',').enumerate().map(address).collect()
}

/// A URL's hosts, and what stands around them.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let begin = url.find("://")? + 3;
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |at| begin + at);
    let hosts = url[begin..end].rfind('@').map_or(begin, |at| begin + at + 1);
    Some((&url[..hosts], &url[hosts..end], &url[end..]))
}

fn parse(url: &str) -> Option<AMQPUri> {
    let mut uri: AMQPUri = url.parse().ok()?;
    if let Some(Host::Ipv6(address)) = Url::parse(url).ok()?.host() {
        uri.authority.host = address.to_string();
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    Some(uri)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// What a URL says of TLS.
#[derive(Debug, Default)]
struct Wishes {
    /// `tls=off`: in the clear, on purpose.
    plain: bool,
    /// `cacertfile`, as RabbitMQ's own clients call it.
    authorities: Option<String>,
}

impl Wishes {
    fn of(url: &Url) -> Result<Self> {
        let mut wishes = Self::default();
        for (name, value) in url.query_pairs() {
            match &*name {
                "tls" if value == "off" => wishes.plain = true,
                "tls" => bail!("of tls AMQP_URL may say `off` and nothing else: amqps:// is TLS"),
                "cacertfile" => wishes.authorities = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(wishes)
    }

    /// Whom to trust, if it is to be TLS: the authorities of the file, or else the system's.
    fn tls(&self, scheme: &AMQPScheme) -> Result<Option<RustlsConnector>> {
        if *scheme == AMQPScheme::AMQP {
            ensure!(self.authorities.is_none(), "AMQP_URL has a cacertfile, but is no amqps://");
            return Ok(None);
        }
        ensure!(!self.plain, "AMQP_URL says both amqps:// and tls=off");
        let config = match &self.authorities {
            Some(path) => RustlsConnectorConfig::default().with_parsable_certificates(read(path)?),
            None => RustlsConnectorConfig::new_with_native_certs().context(
                "this system trusts no certificate authority: AMQP_URL may name a file of some with ?cacertfile=",
            )?,
        };
        Ok(Some(config.connector_with_no_client_auth().context("AMQP_URL cannot use TLS")?))
    }
}

fn read(path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read AMQP_URL's cacertfile {path}"))?;
    ensure!(!certificates.is_empty(), "AMQP_URL's cacertfile {path} holds no certificate");
    Ok(certificates)
}

impl Address {
    /// Connects. lapin would add a file's authorities to the system's; here they are all that is trusted.
    pub(super) async fn open(&self, properties: ConnectionProperties) -> lapin::Result<Connection> {
        let tls = self.tls.clone();
        Connection::connector(
            self.uri.clone(),
            lapin::runtime::default_runtime()?,
            async move |uri, runtime| {
                let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri };
                let connect = async {
                    let stream = plain.connect_async(&runtime).await?;
                    match &tls {
                        Some(tls) => stream.into_rustls(tls, &plain.authority.host).await,
                        None => Ok(stream),
                    }
                };
                let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
                Ok(connected.map_err(std::io::Error::from).flatten()?)
            },
            properties,
        )
        .await
    }

    pub(super) fn host(&self) -> &str {
        &self.uri.authority.host
    }

    pub(super) fn vhost(&self) -> &str {
        &self.uri.vhost
    }
}

/// As operators know it; without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.uri.authority.port;
        match self.host() {
            host if host.contains(':') => write!(f, "[{host}]:{port}"),
            host => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(url: &str) -> Vec<String> {
        addresses(url).unwrap().iter().map(ToString::to_string).collect()
    }

    fn wrong(url: &str) -> String {
        let error = format!("{:#}", addresses(url).unwrap_err());
        assert!(!error.contains("secret"), "{url}: {error}");
        error
    }

    #[test]
    fn one_host_or_several_each_of_them_as_it_is_written() {
        assert_eq!(places("amqp://u:p@localhost/%2f"), ["localhost:5672"]);
        assert_eq!(places("amqp://[::1]"), ["[::1]:5672"], "not localhost, which may be somebody else's");
        assert_eq!(
            places("amqp://u:p%2C@127.0.0.1:1,[::1]:2,h3/vh?tls=off"),
            ["127.0.0.1:1", "[::1]:2", "h3:5672"]
        );
        for address in addresses("amqp://u:p%2C@h1,h2:1/v?tls=off&heartbeat=3").unwrap() {
            assert_eq!(address.uri.authority.userinfo.password, "p,");
            assert_eq!(address.vhost(), "v");
        }
    }

    #[test]
    fn heartbeats_are_ours_unless_the_url_says_other_ones() {
        for (query, seconds) in [("", 10), ("?frame_max=9000", 10), ("?x=y&tls=off", 10), ("?heartbeat=3", 3)]
        {
            let addresses = addresses(&format!("amqp://localhost,localhost:1/%2f{query}")).unwrap();
            assert!(addresses.iter().all(|one| one.uri.query.heartbeat == Some(seconds)), "{query}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_position_and_without_secrets() {
        for url in ["", "h1,h2", "http://u:secret@h1", "amqp://u:secret@h1/?heartbeat=often"] {
            assert_eq!(wrong(url), NO_URL);
        }
        for url in [
            "amqp://u:secret@localhost,,h3/",
            "amqp://u:secret@localhost,h:port",
            "amqp://localhost,u:secret/x@h",
        ] {
            assert!(wrong(url).starts_with("host 2 of AMQP_URL is none"), "{url}: {}", wrong(url));
        }
        assert!(wrong("amqp://u:secret/x@localhost").starts_with("host 1 of AMQP_URL is none"));
    }

    #[test]
    fn nothing_goes_to_another_machine_in_the_clear_unless_the_url_says_so() {
        for url in [
            "amqp://u:secret@rabbitmq",
            "amqp://u:secret@localhost.example",
            "amqp://10.0.0.1",
            "amqp://[::2]",
        ] {
            assert!(wrong(url).starts_with("host 1 of AMQP_URL is not this machine"), "{url}");
            assert_eq!(addresses(&format!("{url}?tls=off")).unwrap().len(), 1);
        }
        assert!(wrong("amqp://u:secret@127.0.0.1,h2").starts_with("host 2 of AMQP_URL is not this machine"));
        assert!(wrong("amqp://h?tls=on").contains("may say `off`"));
        assert!(wrong("amqps://h?tls=off").contains("both"));
        assert!(wrong("amqp://localhost?cacertfile=/x").contains("no amqps://"));
        assert!(wrong("amqps://h?cacertfile=/no/such.pem").contains("/no/such.pem"));
    }
}
